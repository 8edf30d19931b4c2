"""Results side by side, for the terminal and for the report."""

from collections.abc import Sequence

from equimodal.report.result import Result, Spread
from equimodal.report.rules import RULES

HEAD = ("result", "accuracy", "macro-F1")


def percent(value: Spread | None) -> str:
    """Mean and standard deviation in percent: '81.3 ± 0.4', or '81.3' for one seed; '–' where it is not defined."""
    if value is None:
        return "–"
    return f"{100 * value.mean:.1f}" + ("" if value.std is None else f" ± {100 * value.std:.1f}")


def comparison(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """(column heads, rows): accuracy and macro-F1, each modality's accuracy by own readout and probe, and the gap; chosen on validation."""
    modalities = list(dict.fromkeys(name for result in results for name in result.imbalance.s))
    own = list(dict.fromkeys(result.own_readout for result in results))
    readouts = [*own, "probe"]
    heads = [*HEAD, *(f"{name} ({readout})" for readout in readouts for name in modalities), *(f"gap ({readout})" for readout in own)]
    rows = []
    for result in results:
        best = result.selection.val
        row = [result.name, percent(best.accuracy), percent(best.macro_f1)]
        row += [percent(best.modalities.get(readout, {}).get(name)) for readout in readouts for name in modalities]
        row += [percent(result.imbalance.gap.get(readout)) for readout in own]
        rows.append(row)
    return heads, rows


def by_rule(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """(column heads, rows): accuracy by selection rule, and every seed's for the result."""
    heads = ["result", *RULES.values(), "every seed, best on validation"]
    rows = []
    for result in results:
        by = {"val": result.selection.val, "last": result.selection.last, "test": result.selection.test}
        seeds = "  ".join(f"{100 * value:.1f}" for value in by["val"].accuracy.per_seed)
        rows.append([result.name, *(percent(by[rule].accuracy) for rule in RULES), seeds])
    return heads, rows


def caption(results: Sequence[Result]) -> list[str]:
    """What a reader must know beside the table, in lines."""
    seeds = sorted({len(result.seeds) for result in results})
    count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    spread = "" if seeds == [1] else ", mean ± standard deviation"
    lines = [f"Test split, percent{spread} over {count} seed{'' if seeds == [1] else 's'}; epoch chosen on validation."]
    lines.append("(split), (zero-feature): the fusion head's answer to one modality. (probe): a linear classifier on its frozen features.")
    sampled = sorted({result.dataset for result in results if result.source == "sample"})
    if sampled:
        lines.append(f"{', '.join(sampled)}: generated samples. These numbers show that the chain works; they are no result.")
    return lines
