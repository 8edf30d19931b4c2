"""What a run has done so far, and the epochs that its selection rules chose."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from equimodal.store import finite_or_none


@dataclass
class Progress:
    """JSON-able, so that a checkpoint holds it.

    Attributes:
        epoch: epochs done.
        history: of each, {"epoch", "metrics"}.
        best: selection rule -> the score of what it chose.
        selected: selection rule -> the epoch that it chose; `last` too.
        weights: selection rule -> sha256 of the weights that it chose.
    """

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, list[float]] = field(default_factory=dict)
    selected: dict[str, int] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)

    def record(self, metrics: Mapping[str, float]) -> None:
        """One more epoch is done."""
        finite = {name: finite_or_none(value) for name, value in metrics.items()}
        self.history.append({"epoch": self.epoch, "metrics": finite})
        self.epoch += 1

    def choose(self, rule: str, score: list[float]) -> bool:
        """Let a selection rule choose the last epoch if its score is the highest so far, and say whether it did."""
        better = rule not in self.best or score > self.best[rule]
        if better:
            self.best[rule] = score
            self.selected[rule] = self.epoch - 1
        return better
