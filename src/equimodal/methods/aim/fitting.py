"""AIM's fits on the frozen warm-up: prototypes (DAP), then the parameter decoupling (PDM)."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from equimodal.methods.aim.dap import fit_prototypes, require_accuracy
from equimodal.methods.aim.modulation import BlockPass, cosine_matrix
from equimodal.methods.aim.modulator import Modulator
from equimodal.methods.distributed import average_gradients
from equimodal.models.encoder import select
from equimodal.models.frozen import batch_statistics, call_untouched
from equimodal.models.padded import Input
from equimodal.progress import watched

Sample = tuple[dict[str, Input], Tensor]
Batches = Callable[[], Iterator[Sample]]
Optimizers = dict[str, torch.optim.Optimizer]

MEASURED_BATCHES = 4


def make_optimizers(modulator: Modulator) -> Optimizers:
    """Adam for what AIM trains beside the framework: `dap`, `classifiers`, `pdm`, as far as the settings have them."""
    settings = modulator.settings
    parts: dict[str, tuple[nn.Module | None, float]] = {
        "dap": (modulator.dap, settings.dap.lr),
        "classifiers": (modulator.classifiers, settings.dap.lr),
        "pdm": (modulator.pdm, settings.pdm.lr),
    }
    # Fused: the row-wise PDM of a ResNet18 has 37 M weights per modality;
    # a loop over its tensors costs as much as a block.
    return {
        name: torch.optim.Adam(part.parameters(), lr=lr, fused=True)
        for name, (part, lr) in parts.items()
        if part is not None
    }


def fit_modulator(
    modulator: Modulator, optimizers: Optimizers, batches: Batches, progress: bool = False
) -> dict[str, Any]:
    """Fit everything on the framework as it is, which stays as it is.

    Args:
        batches: gives an endless iterator of (inputs, labels), the same at every call.
        progress: show on stderr how far it is.

    Returns:
        A JSON-able log: "dap", "pdm" (lists over steps), "cosine" {m: [D][K][K]} (Fig. 4) and
        "blocks" {"depth{d}/{m}/s" | "s_aux" | "s_good": float} (Fig. 5a before modulation).

    Raises:
        UserError: the fused head does not give the prototypes their own classes.
    """
    assert modulator.dap is not None
    log: dict[str, Any] = {}
    generator = torch.Generator().manual_seed(modulator.seed)
    settings = modulator.settings.dap
    modulator.dap.reset(generator)
    log["dap"] = fit_prototypes(modulator.model, modulator.dap, optimizers["dap"], settings.steps, progress)
    require_accuracy(log["dap"], settings, modulator.settings.start_epoch)
    modulator.measure_gaps()
    log["cosine"] = _cosines(modulator)
    if modulator.pdm is not None:
        log["pdm"] = _fit_decoupling(modulator, optimizers["pdm"], batches(), generator, progress)
        log["blocks"] = _measure(modulator, batches())
    return log


def _cosines(modulator: Modulator) -> dict[str, list[list[list[float]]]]:
    found = modulator.prototypes_in_evaluation()
    matrices = {
        key: [[round(value, 4) for value in row] for row in cosine_matrix(prototypes).tolist()]
        for key, prototypes in found.items()
    }
    return {m: [matrices[m, d] for d in range(modulator.depths)] for m in modulator.modalities}


@torch.no_grad()
def block_passes(modulator: Modulator, sample: Sample) -> dict[tuple[str, int], BlockPass]:
    """I_d and prototypes of every block on a batch, with the batch statistics that modulation will use:
    prototypes ride along.
    """
    inputs, labels = sample
    outputs = call_untouched(modulator.model, {}, modulator.ride(inputs))
    batch, total = len(labels), len(outputs.logits)
    passes = {}
    for m in modulator.modalities:
        for d in range(modulator.depths):
            stage = modulator.stage(outputs, m, d)
            prototypes = modulator.features(m, stage.output, stage.pooled, total)[batch:]
            passes[m, d] = BlockPass(
                select(stage.input, total, slice(0, batch)), prototypes, modulator.objective.memberships(labels)
            )
    return passes


def _fit_decoupling(
    modulator: Modulator,
    optimizer: torch.optim.Optimizer,
    stream: Iterator[Sample],
    generator: torch.Generator,
    progress: bool,
) -> dict[str, list[float]]:
    """Eq. 8 for `pdm.steps` steps: the framework's weights and running statistics stay."""
    assert modulator.pdm is not None
    settings = modulator.settings.pdm
    for m in modulator.modalities:
        for d in range(modulator.depths):
            modulator.pdm.of(m, d).reset(modulator.block(m, d), settings.mask_std, generator)
    log: dict[str, list[float]] = {}
    with batch_statistics(modulator.model):
        for step in watched(range(settings.steps), settings.steps, "decoupling", "steps", progress):
            modulator.keep(block_passes(modulator, next(stream)))
            shown = step % max(1, settings.steps // 20) == 0 or step == settings.steps - 1
            if shown:
                log.setdefault("step", []).append(step)
            for name, value in train_decoupling(modulator, optimizer).items():
                if shown:
                    log.setdefault(name, []).append(float(value))
    return log


def train_decoupling(modulator: Modulator, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """One optimizer step of Eq. 8 on the passes that the modulator kept;
    block by block, so that one graph is alive at a time.
    """
    assert modulator.pdm is not None
    logs: dict[str, Tensor] = {}
    for loss, parameters, more in modulator.decoupling_losses():
        loss.backward(inputs=parameters)
        logs |= more
    _step(optimizer, list(modulator.pdm.parameters()))
    return logs


def _step(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    average_gradients(parameters)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@torch.no_grad()
def _measure(modulator: Modulator, stream: Iterator[Sample]) -> dict[str, float]:
    """s, s~ and s_g of every block after the fit: s~ < s < s_g is Fig. 5a's claim."""
    sums: dict[str, float] = {}
    with batch_statistics(modulator.model):
        for _ in range(MEASURED_BATCHES):
            for (m, d), seen in block_passes(modulator, next(stream)).items():
                block = modulator.block(m, d)
                features = modulator.features(m, call_untouched(block, {}, seen.inputs), None, len(seen.targets))
                found = {
                    "s": modulator.score(m, d, features, seen.prototypes, seen.targets).s,
                    "s_aux": modulator.weak_score(m, d, seen, {}).s,
                    "s_good": modulator.good_score(m, d, seen)[0].s,
                }
                for name, value in found.items():
                    key = f"depth{d + 1}/{m}/{name}"
                    sums[key] = sums.get(key, 0.0) + float(value) / MEASURED_BATCHES
    return sums
