"""What a reader must know before trusting a result's numbers: how many samples they are of, and what they warn of."""

from collections.abc import Sequence

from equimodal.report.result import Result

# p below which validation and test are called different; a note for each of many results, so not the usual 0.05.
LEVEL = 0.01


def differs(result: Result) -> bool:
    """Whether validation and test disagree by more than chance."""
    return result.agreement is not None and result.agreement.p < LEVEL


WHAT_DIFFERS = (
    "the validation clips are not like the test clips (known to training, or to what made the features; or of other"
    " people or recordings), so that an epoch or a setting chosen on them may not be the best"
)


def disagreement(result: Result) -> str | None:
    """The same in a line, if so."""
    if not differs(result) or result.agreement is None:
        return None
    return (
        f"validation {_both(result)} test percent (last epoch's weights) is more than chance over clips and seeds"
        f" (p = {result.agreement.p:.1g}): {WHAT_DIFFERS}"
    )


def warning_lines(results: Sequence[Result]) -> list[str]:
    """What `results` warn of, for the caption of a table: each small split once, the disagreements of a dataset in one
    line.
    """
    lines = []
    for dataset in dict.fromkeys(result.dataset for result in results):
        here = [result for result in results if result.dataset == dataset]
        for text in dict.fromkeys(text for result in here for text in result.warnings):
            members = [result for result in here if text in result.warnings and text != disagreement(result)]
            if members:
                lines.append(f"{_names(members, here)}: {text}.")
        apart = [result for result in here if differs(result)]
        if apart:
            told = ", ".join(f"{result.method.name} {_both(result)}" for result in apart)
            lines.append(
                f"{dataset}: validation against test, percent of the last epoch's weights, differ by more than chance"
                f" over clips and seeds (p < {LEVEL}): {told}; {WHAT_DIFFERS}."
            )
    return lines


def sizes_line(results: Sequence[Result]) -> str:
    """How many samples the numbers are of: 'Samples, train / validation / test: cremad 490 / 86 / 144.'"""
    told = dict.fromkeys(
        f"{result.dataset} {' / '.join(f'{result.data.samples[split]:,}' for split in ('train', 'val', 'test'))}"
        + _dropped(result)
        for result in results
    )
    return f"Samples, train / validation / test: {'; '.join(told)}."


def _dropped(result: Result) -> str:
    dropped = len(result.data.dropped_classes or {})
    return f" of {len(result.classes)} of {len(result.classes) + dropped} classes" if dropped else ""


def _both(result: Result) -> str:
    last = result.selection.last
    return f"{100 * last.validation.accuracy.mean:.1f} against {100 * last.accuracy.mean:.1f}"


def _names(members: Sequence[Result], here: Sequence[Result]) -> str:
    dataset = here[0].dataset
    return dataset if len(members) == len(here) else f"{dataset} {', '.join(m.method.name for m in members)}"
