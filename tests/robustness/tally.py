"""What became of the tries of one harness: counts, and the line that `make test-robust` prints of them."""

from collections import Counter
from dataclasses import dataclass, field

# what a try may end in; the first two are what we want
SURVIVED, REFUSED = "survived", "refused in one line"
TRACEBACK, OTHER_BYTES, HANG, STUCK = "traceback", "other bytes", "hang", "stuck"
BAD = (TRACEBACK, OTHER_BYTES, HANG, STUCK)


@dataclass
class Tally:
    """Outcomes of a harness's tries, by one of the names above."""

    outcomes: Counter[str] = field(default_factory=Counter)
    #: what was tried and went wrong, as one can try it again
    failures: list[str] = field(default_factory=list)

    def add(self, outcome: str, tried: str = "") -> None:
        """Count one try; `tried` says it in a line, for those that went wrong."""
        self.outcomes[outcome] += 1
        if outcome in BAD:
            self.failures.append(f"{outcome}: {tried}")

    def __str__(self) -> str:
        """`200 tries: 180 survived, 20 refused in one line, 0 traceback, 0 other bytes, 0 hang, 0 stuck`."""
        counts = ", ".join(f"{self.outcomes[name]} {name}" for name in (SURVIVED, REFUSED, *BAD))
        return f"{self.outcomes.total()} tries: {counts}"
