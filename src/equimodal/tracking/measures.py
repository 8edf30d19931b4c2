"""Numbers of evaluation and result files, under the names that MLflow shows."""

import math
from collections.abc import Mapping
from typing import Any

NO_MEASURES = ("meta", "settings", "method", "split", "seeds", "data", "regression")

DETAIL = "z/"  # MLflow sorts names: what a result comes down to goes first


def headline(content: Mapping[str, Any]) -> dict[str, float]:
    """What an evaluation or a result comes down to: accuracy, macro_f1 and accuracy_M of each modality M alone (by the
    fusion head's own readout) on the test split, of the weights that validation chose; of a result the mean over seeds.
    Of a regression mae, too.
    """
    chosen = content.get("selection", {}).get("val", {})
    test = chosen.get("test", chosen)  # an evaluation has both splits
    readouts = test.get("modalities", {})
    alone = readouts.get("split", readouts.get("zero-feature", {}))
    found = {name: test.get(name) for name in ("accuracy", "macro_f1")}
    found |= {"mae": (test.get("errors") or {}).get("mae")}
    found |= {f"accuracy_{modality}": value for modality, value in alone.items()}
    means: dict[str, Any] = {name: v.get("mean") if isinstance(v, Mapping) else v for name, v in found.items()}
    return {name: float(value) for name, value in means.items() if is_number(value)}


def measures(content: Mapping[str, Any]) -> dict[str, float]:
    """All numbers of an evaluation or a result: its headline, and every one below `z/`."""
    return headline(content) | {DETAIL + name: value for name, value in leaves(content).items()}


def leaves(content: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of an evaluation or result file, named by their path: selection.val/accuracy/mean,
    imbalance/alpha/depth4/mean.

    The rule stays in the name, because the accuracy of what validation chose is not `val/accuracy`. Lists over seeds
    and matrices are left out.
    """
    measured = {key: below for key, below in content.items() if key not in NO_MEASURES and key != "selection"}
    rules = content.get("selection", {})
    return _leaves(measured, "") | {
        name: value for rule, below in rules.items() for name, value in _leaves(below, f"selection.{rule}/").items()
    }


def _leaves(value: Mapping[str, Any], prefix: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for key, below in value.items():
        if isinstance(below, Mapping):
            found |= _leaves(
                {name: _by_depth(item) for name, item in below.items()} if key == "s" else below, f"{prefix}{key}/"
            )
        elif isinstance(below, list) and key == "alpha":
            found |= _leaves(_by_depth(below), f"{prefix}{key}/")
        elif isinstance(below, list) and key == "interval95":
            found |= _leaves({"low": below[0], "high": below[1]}, f"{prefix}{key}/")
        elif is_number(below):
            found[f"{prefix}{key}"] = float(below)
    return found


def _by_depth(values: list[Any]) -> dict[str, Any]:
    """Depths count from 1, as in the paper."""
    return {f"depth{depth}": value for depth, value in enumerate(values, 1)}


def is_number(value: Any) -> bool:
    """A finite one, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
