"""AIM's fit on the frozen warm-up: prototypes (DAP); and a trial of the parameter decoupling (PDM) on them, which says
whether it decouples.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from equimodal.methods.aim.auxiliary import Passes
from equimodal.methods.aim.dap import fit_prototypes, require_accuracy
from equimodal.methods.aim.modulation import Logs, cosine_matrix
from equimodal.methods.aim.modulator import Modulator
from equimodal.models.frozen import batch_statistics, call_untouched
from equimodal.models.padded import Input

log = logging.getLogger(__name__)

Sample = tuple[dict[str, Input], Tensor]
Batches = Callable[[], Iterator[Sample]]
Optimizers = dict[str, torch.optim.Optimizer]

MEASURED_BATCHES = 4
CHANCE = 0.95  # of 1/K: where originals themselves are at chance, s~ lies about it by a few batches' noise
LARGEST_ERROR = 0.01  # of L_re, as a share of ||theta||^2


def make_optimizers(modulator: Modulator) -> Optimizers:
    """Adam for what AIM trains beside the framework, as far as the settings have it: `dap`, `classifiers`."""
    settings = modulator.settings
    parts: dict[str, nn.Module | None] = {"dap": modulator.dap, "classifiers": modulator.classifiers}
    return {
        name: torch.optim.Adam(part.parameters(), lr=settings.dap.lr, fused=True)
        for name, part in parts.items()
        if part is not None
    }


def fit_modulator(
    modulator: Modulator, optimizers: Optimizers, batches: Batches, progress: bool = False
) -> dict[str, Any]:
    """Fit prototypes on the framework as it is, which stays as it is, and try the PDM there.

    Args:
        batches: gives an endless iterator of (inputs, labels), the same at every call.
        progress: show on stderr how far it is.

    Returns:
        A JSON-able log: "dap" (lists over steps), "cosine" {m: [D][K][K]} (Fig. 4), and of the PDM's trial "blocks"
        {"depth{d}/{m}/s" | "s_aux" | "s_good" | "L_re" | "cos": float} (Fig. 5a before modulation; cos of the
        gradients of L~ and L in theta) and "health", what is wrong with it in words.

    Raises:
        UserError: the fused head does not give the prototypes their own classes.
    """
    assert modulator.dap is not None
    found: dict[str, Any] = {}
    settings = modulator.settings.dap
    modulator.dap.reset(torch.Generator().manual_seed(modulator.seed))
    found["dap"] = fit_prototypes(
        modulator.model, modulator.dap, optimizers["dap"], settings.steps, progress, settings.early_stop
    )
    require_accuracy(found["dap"], settings, modulator.settings.start_epoch)
    modulator.measure_gaps()
    found["cosine"] = _cosines(modulator)
    if modulator.auxiliaries is not None:
        found["blocks"] = _trial(modulator, batches())
        found["health"] = health(found["blocks"], modulator.dap.classes)
        for warning in found["health"]:
            log.warning("aim, prototypes: %s", warning)
    return found


def health(means: dict[str, float], classes: int) -> list[str]:
    """What fails of the checks of aim.md section 12, a line each, given `depth{d}/{m}/` + s, s_aux, L_re, cos as far
    as they are known: an auxiliary is weaker than its original but no anti-classifier, the PDM restores its weights,
    and theta's gradient by the auxiliary agrees with the original's.
    """
    blocks = [name.removesuffix("/s_aux") for name in means if name.endswith("/s_aux")]
    checks = {
        "auxiliary blocks score no lower than the originals": [
            block for block in blocks if means[f"{block}/s_aux"] >= means[f"{block}/s"]
        ],
        f"auxiliary blocks score below chance (1/K = {1 / classes:.3g})": [
            block for block in blocks if means[f"{block}/s_aux"] < CHANCE / classes
        ],
        f"the decoupling does not restore the weights (L_re over {LARGEST_ERROR})": [
            block for block in blocks if means.get(f"{block}/L_re", 0.0) >= LARGEST_ERROR
        ],
        "the auxiliary's gradient opposes the original's": [
            block for block in blocks if means.get(f"{block}/cos", 1.0) <= 0
        ],
    }
    return [f"{what} at {', '.join(where)}: see aim.pdm" for what, where in checks.items() if where]


def _cosines(modulator: Modulator) -> dict[str, list[list[list[float]]]]:
    found = modulator.prototypes_in_evaluation()
    matrices = {
        key: [[round(value, 4) for value in row] for row in cosine_matrix(prototypes).tolist()]
        for key, prototypes in found.items()
    }
    return {m: [matrices[m, d] for d in range(modulator.blocks.depths)] for m in modulator.modalities}


def _trial(modulator: Modulator, stream: Iterator[Sample]) -> dict[str, float]:
    """Start the PDM as an epoch would, and measure its blocks on other batches."""
    auxiliaries = modulator.auxiliaries
    assert auxiliaries is not None
    sums: dict[str, float] = {}
    with batch_statistics(modulator.model):
        auxiliaries.start(block_passes(modulator, next(stream)))
        for _ in range(MEASURED_BATCHES):
            for name, value in _measure(modulator, block_passes(modulator, next(stream))).items():
                sums[name] = sums.get(name, 0.0) + float(value) / MEASURED_BATCHES
    return sums


@torch.no_grad()
def block_passes(modulator: Modulator, sample: Sample) -> Passes:
    """I_d and prototypes of every block on a batch, normalised as modulation will: prototypes ride along."""
    assert modulator.riding is not None
    inputs, labels = sample
    batch, rows = len(labels), len(labels) + modulator.objective.classes
    with modulator.riding.statistics(batch, rows):
        outputs = call_untouched(modulator.model, {}, modulator.riding.ride(inputs))
    targets = modulator.objective.memberships(labels)
    prototypes = modulator.riding.behind(outputs, batch)
    return modulator.showing.passes(outputs, prototypes, targets, 0, 1.0, modulator.blocks.places)


def _measure(modulator: Modulator, passes: Passes) -> Logs:
    """s, s~, s_g, L_re of every block, and the cosine of the gradients of L~ and L in its weights."""
    auxiliaries, blocks = modulator.auxiliaries, modulator.blocks
    assert auxiliaries is not None
    found: Logs = {}
    for (m, d), seen in passes.items():
        name = blocks.name((m, d))
        weak, _ = auxiliaries.weak({(m, d): seen})
        good, parts = auxiliaries.good(d, {(m, d): seen})
        features = blocks.features_of(m, call_untouched(blocks.block(m, d), {}, seen.inputs), seen.rows)
        own = modulator.scores([(m, d)], [features[: len(seen.targets)]], [seen.prototypes], seen.targets)
        weights = [blocks.block(m, d).get_parameter(key) for key in auxiliaries.decoupling.at(d).names(m)]
        ours, theirs = (
            torch.cat([g.flatten() for g in torch.autograd.grad(score.loss.sum(), weights)]) for score in (weak, own)
        )
        cosine = torch.nn.functional.cosine_similarity(ours, theirs, dim=0)
        values = {"s": own.s[0], "s_aux": weak.s[0], "s_good": good.s[0], "L_re": parts.relative[m], "cos": cosine}
        found |= {f"{name}/{key}": value.detach() for key, value in values.items()}
    return found
