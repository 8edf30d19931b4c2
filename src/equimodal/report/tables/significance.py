"""Every method of a dataset against joint and joint-uni: paired t tests over common seeds, corrected by Holm's rule."""

from dataclasses import dataclass

from equimodal.report.paired import Difference, holm, paired_results
from equimodal.report.result import Result
from equimodal.report.tables.collection import BASELINES

LEVEL = 0.05
WHAT_IT_SAYS = [
    f"† differs from joint, ‡ from joint-uni: p < {LEVEL} of a two-sided paired t test over the seeds that both have,"
    " corrected by Holm's rule over the methods of one dataset and baseline."
    " Intervals are of single differences, not corrected.",
    "The test is about seeds (start, order, augmentation) on one split: whether the difference would show with other"
    " seeds on the same clips. It says nothing about other splits, speakers or data; and a large p shows no difference,"
    " not that there is none.",
]


@dataclass(frozen=True)
class Test:
    """A method minus a baseline in accuracy (regressions: MAE): the difference, the seeds it is over, p after Holm
    (None for one seed).
    """

    difference: Difference
    seeds: list[int]
    holm: float | None

    @property
    def significant(self) -> bool:
        """Whether the corrected p is below the level."""
        return self.holm is not None and self.holm < LEVEL


Tests = dict[tuple[str, str], Test]  # by (method, baseline)


def tests(results: dict[str, Result]) -> Tests:
    """(method, baseline) -> test, of one dataset's results by method;
    pairs without a common seed or with other data are left out.
    """
    found: Tests = {}
    for baseline in BASELINES:
        if baseline not in results:
            continue
        family = {}
        for method, result in results.items():
            base = results[baseline]
            if (
                method != baseline
                and (result.data.digest, result.task) == (base.data.digest, base.task)
                and set(result.seeds) & set(base.seeds)
            ):
                family[method] = paired_results(result, base)
        tested = [method for method, (difference, _) in family.items() if difference.p is not None]
        ps: list[float] = [difference.p for difference, _ in family.values() if difference.p is not None]
        corrected = dict(zip(tested, holm(ps), strict=True))
        found |= {
            (method, baseline): Test(difference, seeds, corrected.get(method))
            for method, (difference, seeds) in family.items()
        }
    return found


def signs(method: str, found: Tests) -> str:
    """' †‡' behind a number whose method differs from joint and joint-uni."""
    marks = "".join(
        sign
        for sign, baseline in zip("†‡", BASELINES, strict=True)
        if (method, baseline) in found and found[method, baseline].significant
    )
    return f" {marks}" if marks else ""
