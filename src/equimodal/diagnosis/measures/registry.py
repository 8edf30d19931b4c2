"""The measures by name, and which are taken by default."""

from collections.abc import Collection, Sequence

from equimodal.diagnosis.changes import Change
from equimodal.diagnosis.measures import ablation, additive, curves, decision, depth, readouts, shapley
from equimodal.diagnosis.measures.base import Measure, no_changes, one_each
from equimodal.errors import UserError

MOST_PASSES = 12  # of the default set

# In the order in which the default set takes them, as far as its passes go.
MEASURES: dict[str, Measure] = {
    "permutation": Measure(
        "Perceptual score: a modality gets other samples' values",
        "Gat et al. 2021, arXiv 2110.14375",
        "drop: score lost; moved: share of samples whose output changes at all",
        one_each("permute"),
        ablation.ablation("permute"),
        ablation.no_partners,
    ),
    "shapley": Measure(
        "Shapley values and interactions, others permuted",
        "Hu et al. 2022 (SHAPE), arXiv 2205.00302; Grabisch and Roubens 1999",
        "gain: score above that without any modality; value: a modality's part of it; share: that over the gain;"
        " interaction: what two give only together",
        shapley.subset_changes,
        shapley.compute,
        shapley.refusal,
    ),
    "readout": Measure(
        "Readouts: all other encoders' features at zero",
        "methods.md 4.2; Peng et al. 2022 (OGM-GE), arXiv 2203.15332",
        "score: of the modality alone",
        readouts.changes,
        readouts.compute,
        needs="encoders",
    ),
    "probe": Measure(
        "Linear probe by depth",
        "Alain and Bengio 2016, arXiv 1610.01644",
        "score: of a linear model on that layer's output; chance: of the largest class",
        no_changes,
        depth.probes,
        depth.no_probe,
        needs="layers",
        axis="depth",
    ),
    "class-mean": Measure(
        "Class-mean score s by depth, and imbalance alpha",
        "AIM, arXiv 2508.19769, Eq. 9 and 14",
        "s: probability of the true class by distances to class means; alpha: spread of s over modalities over its mean"
        " (0: balanced)",
        no_changes,
        depth.class_means,
        depth.no_classes,
        needs="layers",
        axis="depth",
    ),
    "logit-share": Measure(
        "Share of the logits' variance at the decision layer",
        "covariance decomposition of the split logits of Peng et al. 2022, arXiv 2203.15332",
        "share: of the logits' variance that comes from the modality's features",
        no_changes,
        decision.compute,
        decision.refusal,
        needs="decision",
    ),
    "zero": Measure(
        "Ablation by zeros",
        "zeros in place of a modality, as in SHAPE",
        "drop: score lost; moved: share of samples whose output changes at all",
        one_each("zero"),
        ablation.ablation("zero"),
    ),
    "mean": Measure(
        "Ablation by the mean sample",
        "mean in place of a modality",
        "drop: score lost; moved: share of samples whose output changes at all",
        one_each("mean"),
        ablation.ablation("mean"),
        ablation.no_mean,
    ),
    "emap": Measure(
        "Additive projection (EMAP)",
        "Hessel and Lee 2020, arXiv 2010.06572, Eq. 3, over drawn donors",
        "score: of a sum of functions of one modality each; drop: what only their combination gives",
        additive.changes,
        additive.compute,
        additive.refusal,
        logits=True,
    ),
    "noise": Measure(
        "Gaussian noise on one modality",
        "additive noise in standard deviations of the input",
        "score: of the model with so much noise on the modality",
        curves.noise_changes,
        curves.noise,
        ablation.no_mean,
        axis="noise",
    ),
    "missing": Measure(
        "Missing modalities (zeros)",
        "expected score, missing at random",
        "score: when the modality (all: each of them) is missing with that probability",
        curves.missing_changes,
        curves.missing,
        shapley.too_many,
        axis="rate",
    ),
}
BY_REQUEST = ("emap", "noise", "missing")


def chosen(
    measures: Sequence[str] | str | None, modalities: tuple[str, ...], named: Collection[str]
) -> tuple[list[str], list[str]]:
    """Names of the measures to take, and notes on those left out.

    Args:
        measures: names; "all" for all that submodules are named for; None for the default set: in the registry's order
            what needs no more than MOST_PASSES passes together, the plain one included.
        named: which kinds of submodules are named: encoders, layers, decision.

    Raises:
        UserError: a name that is none, or a measure whose submodules are not named.
    """
    usable = [name for name, measure in MEASURES.items() if measure.needs is None or measure.needs in named]
    lacking = {name: measure.needs for name, measure in MEASURES.items() if name not in usable}
    notes = [f"{name}: no {needs}= named" for name, needs in lacking.items()]
    if measures == "all":
        return usable, notes
    if measures is not None:
        asked = [measures] if isinstance(measures, str) else list(measures)
        for name in asked:
            if name not in MEASURES:
                raise UserError(f"diagnose: there is no measure {name!r}; valid: all, {', '.join(MEASURES)}")
            if name in lacking:
                raise UserError(f"diagnose: the measure {name} needs {lacking[name]}= (names of submodules)")
        return list(dict.fromkeys(asked)), []
    taken: list[str] = []
    passes: set[Change] = set()
    for name in usable:
        more = passes | set(MEASURES[name].changes(modalities))
        too_many = name == "shapley" and not MEASURES[name].changes(modalities)
        if name in BY_REQUEST or too_many or 1 + len(more) > MOST_PASSES:
            extra = len(more - passes)
            notes.append(f"{name}: {extra} more pass{'es' if extra > 1 else ''}; by measures=")
        else:
            taken.append(name)
            passes = more
    return taken, notes
