"""What the numbers say, in plain words, with a rule behind every word.

Claims are tests that the balanced case must fail. With M modalities a balanced model's share is 1/M; a claim needs the
interval of the share to lie beyond half of the way from there to nothing, or to everything:

- dominated: share below 1/(2M); unused: below 1/20 as well (one claim, the stronger word).
- dominant: share above (1 + 1/M)/2.
- harmful: the score rises when the modality is given other samples' values.

Each claim's interval is one-sided at level (1 - confidence) / (3M), so that all 3M claims together have at most 1 -
confidence false ones (Bonferroni). Shares are Shapley values' where they were taken, and else the perceptual scores' of
their sum. Two claims need no test, as they are about these very passes: dead (no output changes when the modality does)
and constant (its input never changes).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from equimodal.diagnosis.advice import Need
from equimodal.diagnosis.bootstrap import bounds
from equimodal.diagnosis.changes import FULL, Change
from equimodal.diagnosis.content import Estimate, Finding, Measured
from equimodal.diagnosis.measures import shapley
from equimodal.diagnosis.measures.base import Setting

UNUSED = 0.05
LEAST = 50  # samples; below, percentile intervals are too narrow to claim anything
CLAIMS = 3  # tests of each modality


@dataclass(frozen=True)
class Verdict:
    """The sentence, the claims, and what would address them."""

    text: str
    findings: list[Finding]
    needs: list[Need]


@dataclass(frozen=True)
class Attribution:
    """Who the score is due to.

    Attributes:
        source: in words.
        shares: [M, 1 + B], NaN where a resample has no gain.
        drops: [M, 1 + B], the perceptual scores.
        gain: [1 + B], what the shares are shares of.
        tail: level of each one-sided claim.
    """

    source: str
    shares: Tensor
    drops: Tensor
    gain: Tensor
    tail: float


def tail(confidence: float, modalities: int) -> float:
    """Level of one claim, of CLAIMS for each modality."""
    return (1 - confidence) / (CLAIMS * modalities)


def judge(setting: Setting, measures: list[Measured]) -> Verdict:
    """The verdict on what was measured; without permutation or shapley there is none."""
    taken = {measured.name: measured for measured in measures}
    names = setting.modalities
    if "permutation" not in taken and "shapley" not in taken:
        return Verdict("No verdict: it needs the measure permutation or shapley.", [], [])
    gone = [_never_changes(setting, name) for name in names]
    findings = [finding for finding in gone if finding is not None]
    if setting.runner.samples < LEAST:
        text = f"No verdict on shares: {setting.runner.samples} samples are fewer than {LEAST}."
        return Verdict(text, findings, _needs(findings))
    attribution = _attribution(setting, "shapley" in taken)
    low_gain, high_gain = bounds(attribution.gain, attribution.tail)
    if low_gain <= 0:
        text = (
            f"No verdict on shares: the model's {setting.runner.task.score} is not shown to be above what it has when"
            f" modalities are swapped (gain {attribution.gain[0]:.3f}, {low_gain:.3f} to {high_gain:.3f})."
        )
        return Verdict(text, findings, _needs(findings))
    silent = {finding.modality for finding in findings}
    for m, name in enumerate(names):
        findings += _claims(setting, attribution, m, name, name in silent)
    findings += [_hidden(setting, finding, taken) for finding in findings if _is_hidden(finding, taken)]
    return Verdict(_sentence(names, findings, attribution), findings, _needs(findings))


def _never_changes(setting: Setting, name: str) -> Finding | None:
    if not setting.runner.seen[name].varies:
        text = f"{name} is constant: its input is the same in all {setting.runner.samples} samples."
        return Finding(kind="constant", modality=name, text=text)
    if not bool(setting.runner.run(Change("permute", (name,))).moved.any()):
        text = f"{name} is dead: none of {setting.runner.samples} outputs changes when its input is another sample's."
        return Finding(kind="dead", modality=name, text=text)
    return None


def _attribution(setting: Setting, exact: bool) -> Attribution:
    names = setting.modalities
    full = setting.runner.run(FULL).scores
    drops = setting.means([full - setting.runner.run(Change("permute", (name,))).scores for name in names])
    parts = shapley.values(setting)[0] if exact else drops
    source = "Shapley shares" if exact else "shares of the perceptual scores"
    level = tail(setting.confidence, len(names))
    return Attribution(source, shapley.shares(parts), drops, parts.sum(0), level)


def _claims(setting: Setting, found: Attribution, m: int, name: str, silent: bool) -> list[Finding]:
    count = len(setting.modalities)
    score = setting.runner.task.score
    claims = []
    share = found.shares[m]
    if not bool(torch.isnan(share).any()):
        low, high = bounds(share, found.tail)
        numbers = f"share {share[0]:.3f} (bounds {low:.3f} to {high:.3f}; balanced {1 / count:.3f})"
        if low > (1 + 1 / count) / 2:
            claims.append(Finding(kind="dominant", modality=name, text=f"{name} dominates: {numbers}."))
        if high < UNUSED and not silent:
            claims.append(Finding(kind="unused", modality=name, text=f"{name} is all but unused: {numbers}."))
        elif high < 1 / (2 * count) and not silent:
            claims.append(Finding(kind="dominated", modality=name, text=f"{name} is dominated: {numbers}."))
    low, high = bounds(found.drops[m], found.tail)
    if high < 0:
        text = f"{name} does harm: with other samples' {name} the {score} is higher by {-found.drops[m, 0]:.3f}" + (
            f" ({-high:.3f} to {-low:.3f})."
        )
        claims.append(Finding(kind="harmful", modality=name, text=text))
    return claims


def _is_hidden(finding: Finding, taken: dict[str, Measured]) -> bool:
    """Whether the modality's last layer is shown to know more than its readout says."""
    known = _knowledge(finding, taken)
    if known is None or finding.kind not in ("dead", "unused", "dominated"):
        return False
    probe, readout = known
    return probe.low is not None and readout.high is not None and probe.low > readout.high


def _knowledge(finding: Finding, taken: dict[str, Measured]) -> tuple[Estimate, Estimate] | None:
    if "probe" not in taken or "readout" not in taken or finding.modality is None:
        return None
    probes, readouts = (taken[name].find("score", finding.modality) for name in ("probe", "readout"))
    return (probes[-1].estimate, readouts[0].estimate) if probes and readouts else None


def _hidden(setting: Setting, finding: Finding, taken: dict[str, Measured]) -> Finding:
    known = _knowledge(finding, taken)
    assert known is not None
    probe, readout = known
    text = (
        f"{finding.modality}'s encoder knows more than the model says by it: a linear probe on its last layer has"
        f" {setting.runner.task.score} {_words(probe)}, its readout {_words(readout)}."
    )
    return Finding(kind="hidden", modality=finding.modality, text=text)


def _words(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _sentence(names: tuple[str, ...], findings: list[Finding], attribution: Attribution) -> str:
    if findings:
        words = {"constant": "is constant", "dead": "is dead", "unused": "is all but unused"}
        words |= {"dominated": "is dominated", "dominant": "dominates", "harmful": "does harm"}
        named = [f"{finding.modality} {words[finding.kind]}" for finding in findings if finding.kind in words]
        return f"Imbalanced, by {attribution.source}: " + "; ".join(named) + "."
    count = len(names)
    limits = [bounds(share, attribution.tail) for share in attribution.shares]
    numbers = ", ".join(
        f"{name} {share[0]:.2f} ({low:.2f} to {high:.2f})"
        for name, share, (low, high) in zip(names, attribution.shares, limits, strict=True)
    )
    least, most = 1 / (2 * count), (1 + 1 / count) / 2
    if all(low > least and high < most for low, high in limits):
        return f"No imbalance: every share is shown to lie within {least:.2f} to {most:.2f}. {numbers}."
    return f"No imbalance shown: no share is shown to lie beyond {least:.2f} to {most:.2f}. {numbers}."


def _needs(findings: list[Finding]) -> list[Need]:
    kinds = {finding.kind for finding in findings}
    needs: list[Need] = []
    if "hidden" in kinds:
        needs += ["head", "encoder"]
    elif kinds & {"constant", "dead"}:
        needs.append("feed")
    elif kinds & {"unused", "dominated", "dominant"}:
        needs += ["feed", "encoder"]
    if "harmful" in kinds:
        needs.append("overfit")
    return needs
