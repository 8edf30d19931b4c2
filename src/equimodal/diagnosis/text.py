"""A diagnosis on a terminal."""

from equimodal.diagnosis.content import Content, Entry, Estimate, Measured


def number(estimate: Estimate) -> str:
    """0.123 (0.100 to 0.150)."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def label(entry: Entry, axis: str | None) -> str:
    """'audio, depth 2 (encoder.layer2)' for an entry's place."""
    place = "" if entry.at is None else f", {axis} {entry.at:g}"
    return entry.of + place + ("" if entry.layer is None else f" ({entry.layer})")


def cost(measured: Measured) -> str:
    """What a measure costs beside the plain pass, whoever shares it."""
    return f"{measured.passes} passes" if measured.passes else "no pass of its own"


def summary(content: Content) -> str:
    """What was measured on what, in one line."""
    return (
        f"{content.task}, {content.samples} samples, {content.passes} passes of the loader:"
        f" {content.score} {number(content.full)}"
    )


def footer(content: Content) -> str:
    """How intervals were made."""
    return (
        f"In brackets: {content.confidence:.0%} bootstrap intervals over samples ({content.replicates} resamples, seed"
        f" {content.seed}); they do not cover another training."
    )


def text(content: Content) -> str:
    """All of it, for print."""
    lines = [f"Diagnosis of {content.model}: {summary(content)}", "", content.verdict]
    lines += [f"  - {finding.text}" for finding in content.findings]
    for measured in content.measures:
        lines += ["", f"{measured.title} ({cost(measured)})", f"  ({measured.numbers})"]
        rows = [(entry.quantity, label(entry, measured.axis), number(entry.estimate)) for entry in measured.entries]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines += [f"  {quantity:{widths[0]}}  {place:{widths[1]}}  {value}" for quantity, place, value in rows]
    if content.advice:
        lines += ["", "Methods of this project that address it"]
        lines += [f"  {advice.method}: {advice.why}. Cost: {advice.cost}." for advice in content.advice]
    if content.notes:
        lines += ["", "Notes", *(f"  {note}" for note in content.notes)]
    return "\n".join([*lines, "", footer(content)])
