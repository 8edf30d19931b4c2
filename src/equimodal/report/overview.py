"""Results side by side, for the terminal and for the report."""

from collections.abc import Sequence

from equimodal.report.information import sizes_line, warning_lines
from equimodal.report.result import Errors, Result, Selection, Spread
from equimodal.report.rules import RULES

HEAD = ("result", "accuracy", "macro-F1")


def percent(value: Spread | None) -> str:
    """Mean and standard deviation in percent: '81.3 ± 0.4', or '81.3' for one seed; '–' where it is not defined."""
    if value is None:
        return "–"
    return f"{100 * value.mean:.1f}" + ("" if value.std is None else f" ± {100 * value.std:.1f}")


def number(value: Spread | None) -> str:
    """The same as a plain number: '0.812 ± 0.004'."""
    if value is None:
        return "–"
    return f"{value.mean:.3f}" + ("" if value.std is None else f" ± {value.std:.3f}")


def comparison(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """(column heads, rows): the measures of the task, of each modality by own readout and probe, and the gap;
    chosen on validation.

    Regressions among themselves show errors and correlation; beside classifications they show what both have, accuracy
    by nearest grid value.
    """
    modalities = list(dict.fromkeys(name for result in results for name in result.imbalance.s))
    own = list(dict.fromkeys(result.own_readout for result in results))
    readouts = [*own, "probe"]
    if regressions(results):
        return _regressions(results, modalities, readouts)
    heads = [
        *HEAD,
        *(f"{name} ({readout})" for readout in readouts for name in modalities),
        *(f"gap ({readout})" for readout in own),
    ]
    rows = []
    for result in results:
        best = result.selection.val
        row = [result.name, percent(best.accuracy), percent(best.macro_f1)]
        row += [percent(best.modalities.get(readout, {}).get(name)) for readout in readouts for name in modalities]
        row += [percent(result.imbalance.gap.get(readout)) for readout in own]
        rows.append(row)
    return heads, rows


def _regressions(
    results: Sequence[Result], modalities: list[str], readouts: list[str]
) -> tuple[list[str], list[list[str]]]:
    heads = [
        "result",
        "MAE",
        "correlation",
        "grid accuracy",
        "binary",
        "binary, no ties",
        *(f"MAE {name} ({r})" for r in readouts for name in modalities),
    ]
    rows = []
    for result in results:
        best = result.selection.val
        found = _errors(best)
        row = [
            result.name,
            number(found.mae),
            number(found.pearson),
            percent(best.accuracy),
            percent(found.binary_accuracy),
            percent(found.nonzero_accuracy),
        ]
        apart = [(best.modality_errors or {}).get(readout, {}).get(name) for readout in readouts for name in modalities]
        rows.append(row + [number(each.mae if each is not None else None) for each in apart])
    return heads, rows


def by_rule(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """(column heads, rows): accuracy (regressions: MAE) by selection rule, and every seed's for the result."""
    heads = ["result", *RULES.values(), "every seed, best on validation"]
    numbers = regressions(results)
    rows = []
    for result in results:
        by: list[Selection | None] = [getattr(result.selection, rule) for rule in RULES]
        values = [None if one is None else _errors(one).mae if numbers else one.accuracy for one in by]
        best = _errors(result.selection.val).mae if numbers else result.selection.val.accuracy
        seeds = "  ".join(f"{value:.3f}" if numbers else f"{100 * value:.1f}" for value in best.per_seed)
        rows.append([result.name, *map(number if numbers else percent, values), seeds])
    return heads, rows


def regressions(results: Sequence[Result]) -> bool:
    """Whether all of the results are regressions."""
    return all(result.task == "regression" for result in results)


def _errors(one: Selection) -> Errors:
    assert one.errors is not None
    return one.errors


def caption(results: Sequence[Result]) -> list[str]:
    """What a reader must know beside the table, in lines."""
    seeds = sorted({len(result.seeds) for result in results})
    count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    spread = "" if seeds == [1] else ", mean ± standard deviation"
    unit = "errors in the labels' unit, accuracies in percent" if regressions(results) else "percent"
    lines = [f"Test split, {unit}{spread} over {count} seed{'' if seeds == [1] else 's'}; epoch chosen on validation."]
    lines.append(
        "(split), (zero-feature): the fusion head's answer to one modality. (probe): a linear classifier on"
        " its frozen features."
    )
    if regressions(results):
        lines[-1] = lines[-1].replace("classifier", "map to the value")
        lines.append(
            "Grid accuracy: nearest grid value. Binary: at or above the threshold or below; no ties: labels"
            " equal to the threshold left out."
        )
    lines += [sizes_line(results), *(f"Warning: {line}" for line in warning_lines(results))]
    sampled = sorted({result.dataset for result in results if result.source == "sample"})
    if sampled:
        lines.append(
            f"{', '.join(sampled)}: generated samples. These numbers show that the chain works; they are no result."
        )
    return lines
