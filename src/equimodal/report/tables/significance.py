"""Every method of a dataset against joint and joint-uni: paired t tests over common seeds, corrected by Holm's rule."""

from dataclasses import dataclass

from equimodal.report.paired import Difference, holm, paired_results
from equimodal.report.result import Result
from equimodal.report.tables.collection import BASELINES

LEVEL = 0.05
WHAT_IT_SAYS = [
    f"† differs from joint, ‡ from joint-uni: p < {LEVEL} of a two-sided paired t test over the seeds"
    " that both have, corrected by Holm's"
    " rule over the methods of one dataset and baseline (joint against joint-uni is one comparison, corrected among"
    " those with joint). Intervals are of single differences, not corrected. A spread over seeds below that of rounding"
    " to whole test clips counts as that.",
    "The test is about seeds (start, order, augmentation) on one split: whether the difference would"
    " show with other seeds on the same clips. It says nothing"
    " about other splits, speakers or data; and a large p shows no difference, not that there is none.",
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
    """(method, baseline) -> test, of one dataset's results by method; pairs without a common seed or with other data
    are left out.

    A family is all methods against one baseline. The two baselines against each other are one comparison, of the first
    one's family; it has one corrected p, whichever of them is subtracted.
    """
    differences = {
        (method, baseline): paired_results(result, results[baseline])
        for baseline in BASELINES
        if baseline in results
        for method, result in results.items()
        if method != baseline and _comparable(result, results[baseline])
    }
    corrected: dict[frozenset[str], float] = {}
    for baseline in BASELINES:
        family = {
            pair: difference.p
            for (method, other), (difference, _) in differences.items()
            if other == baseline
            and difference.p is not None
            and (pair := frozenset((method, baseline))) not in corrected
        }
        corrected |= dict(zip(family, holm(list(family.values())), strict=True))
    return {
        pair: Test(difference, seeds, corrected.get(frozenset(pair)))
        for pair, (difference, seeds) in differences.items()
    }


def _comparable(result: Result, baseline: Result) -> bool:
    same = (result.data.digest, result.task) == (baseline.data.digest, baseline.task)
    return same and bool(set(result.seeds) & set(baseline.seeds))


def signs(method: str, found: Tests) -> str:
    """' †‡' behind a number whose method differs from joint and joint-uni."""
    marks = "".join(
        sign
        for sign, baseline in zip("†‡", BASELINES, strict=True)
        if (method, baseline) in found and found[method, baseline].significant
    )
    return f" {marks}" if marks else ""
