"""Two results compared over seeds and over samples; for people, no engine calls it."""

from pathlib import Path

from equimodal.errors import UserError
from equimodal.params import Params
from equimodal.report.mcnemar import Discordance, discordance
from equimodal.report.paired import paired_results, resolution
from equimodal.report.result import Result
from equimodal.store import read_table


def run(params: Params, first: Path, second: Path) -> None:
    """Print how two results differ: paired by seed (t test), and by test sample (McNemar, a row a seed).

    Raises:
        UserError: other data, no seed in common, a regression, predictions that are missing or of other samples.
    """
    one, two = Result.read(first), Result.read(second)
    if one.task == "regression":
        raise UserError("McNemar's test is about classes, and these are regressions: see equimodal tables")
    difference, seeds = paired_results(one, two)
    grid = f" (one clip is {100 * resolution(one):.2f})"
    print(f"{one.name} minus {two.name}, {one.data.samples['test']} test samples, weights chosen on validation")
    print(f"over {len(seeds)} seeds: {100 * difference.mean:+.2f} points of accuracy{grid}", end="")
    if difference.interval95 is not None and difference.p is not None:
        low, high = difference.interval95
        print(f", 95 % [{100 * low:+.2f}, {100 * high:+.2f}], p {difference.p:.2g} (paired t)")
    else:
        print("")
    print("over samples (McNemar, exact):")
    print(f"  seed  only {one.method.name}  only {two.method.name}  both  neither  p")
    for seed in seeds:
        found = samples(first, one, second, two, seed)
        print(
            f"  {seed:>4}  {found.first:>{5 + len(one.method.name)}}  {found.second:>{5 + len(two.method.name)}}"
            f"  {found.both:>4}  {found.neither:>7}  {found.p:.2g}"
        )


def samples(first: Path, one: Result, second: Path, two: Result, seed: int) -> Discordance:
    """The test samples that the models of one seed get right."""
    right = []
    for path, result in ((first, one), (second, two)):
        table = read_table(result.model_folders(path)[seed] / "predictions.parquet")
        rows = [place for place, split in enumerate(table["split"]) if split == "test"]
        right.append({table["id"][row]: table["prediction"][row] == table["label"][row] for row in rows})
    if right[0].keys() != right[1].keys():
        raise UserError(f"{one.name} and {two.name} were predicted on other samples: evaluate both again")
    return discordance(list(right[0].values()), [right[1][name] for name in right[0]])
