"""The tables of docs/evidence.md, from result files alone: python docs/evidence_tables.py results/grid-words_*.json"""

import sys
from pathlib import Path

from equimodal.report.paired import paired_results
from equimodal.report.result import Result
from equimodal.report.table import by_rule, caption, comparison, percent

ORDER = ("joint", "joint-uni", "audio", "visual", "aim")


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [heads, ["---"] * len(heads), *rows])


def tests(results: dict[str, Result]) -> tuple[list[str], list[list[str]]]:
    """Paired t tests of every method against joint and joint-uni."""
    rows = []
    for name, result in results.items():
        row = [result.name]
        for baseline in ("joint", "joint-uni"):
            if baseline == name or baseline not in results:
                row += ["", ""]
                continue
            found = paired_results(result, results[baseline])
            low, high = found.interval95 or (found.mean, found.mean)
            row += [f"{100 * found.mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]", "–" if found.p is None else f"{found.p:.2g}"]
        rows.append(row)
    return ["result", "minus joint [95 %]", "p", "minus joint-uni [95 %]", "p"], rows


def depths(results: dict[str, Result]) -> tuple[list[str], list[list[str]]]:
    """alpha_d by depth of the trained models, and training cost."""
    rows = []
    for result in results.values():
        alpha = result.imbalance.alpha
        cells = [f"{value.mean:.2f}" for value in alpha] if alpha else ["–"] * 4
        rows.append([result.name, *cells, f"{result.flops.training / result.flops.training_joint:.2f}"])
    return ["result", *(f"alpha_{d}" for d in range(1, 5)), "training FLOPs / plain"], rows


def main(paths: list[str]) -> None:
    """Print one section a dataset."""
    found = [Result.read(Path(path)) for path in paths]
    for dataset in dict.fromkeys(result.dataset for result in found):
        group = {result.method.name: result for result in found if result.dataset == dataset}
        names = [name for name in ORDER if name in group] + sorted(name for name in group if name not in ORDER)
        results = {name: group[name] for name in names}
        print(f"## {dataset}\n")
        for line in caption(list(results.values())):
            print(f"{line}\\")
        best = max(results.values(), key=lambda result: result.selection.val.validation.accuracy.mean)
        print(f"Highest validation accuracy: {best.name}, {percent(best.selection.val.validation.accuracy)}.\n")
        for part in (comparison(list(results.values())), by_rule(list(results.values())), tests(results), depths(results)):
            print(table(*part), end="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
