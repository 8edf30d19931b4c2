"""DAP: learnable class prototypes in input space, pushed through the framework to give prototypes of every depth
(aim.md section 3).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from equimodal.errors import UserError
from equimodal.methods.aim.settings import DAPSettings
from equimodal.methods.distributed import average_gradients
from equimodal.models.framework import MultimodalModel, Outputs
from equimodal.models.frozen import evaluation_mode
from equimodal.models.padded import Input, Padded
from equimodal.objectives import Objective
from equimodal.progress import watched


class Prototypes(nn.Module):
    """P~_0: K input-shaped prototypes per modality, and the decoders Psi_dap that keep them near the data.

    Prototypes of sequences have the class means' masks, for good:
    only real positions are learned, decoded and compared.

    Args:
        class_means: Xbar {m: [K, ...]}, mean evaluation input of every class, in the normalised input space of the
            model.
        axes: modality -> axis of an input that per-channel maps act on.
        objective: gives each prototype the label it stands for: its class, or its value on a regression's grid.
    """

    def __init__(
        self, class_means: Mapping[str, Input], axes: dict[str, int], settings: DAPSettings, objective: Objective
    ) -> None:
        super().__init__()
        self.settings = settings
        self.task = objective
        self.axes = dict(axes)
        self.masked = {name for name, mean in class_means.items() if isinstance(mean, Padded)}
        means = {name: mean.zeroed().values if isinstance(mean, Padded) else mean for name, mean in class_means.items()}
        # Contiguous: fused Adam reads memory in order, and a restored state is contiguous.
        starts = {name: mean.detach().clone(memory_format=torch.contiguous_format) for name, mean in means.items()}
        self.inputs = nn.ParameterDict({name: nn.Parameter(start) for name, start in starts.items()})
        self.gain, self.shift = nn.ParameterDict(), nn.ParameterDict()
        if settings.decoder == "affine":
            for name, mean in means.items():
                self.gain[name] = nn.Parameter(torch.ones(mean.shape[axes[name]], dtype=mean.dtype, device=mean.device))
                self.shift[name] = nn.Parameter(
                    torch.zeros(mean.shape[axes[name]], dtype=mean.dtype, device=mean.device)
                )
        for name, mean in means.items():
            # Not in the state: every run computes them from the same samples.
            self.register_buffer(f"mean_{name}", mean.detach().clone(), persistent=False)
        for name, given in class_means.items():
            if isinstance(given, Padded):
                self.register_buffer(f"mask_{name}", given.mask.clone(), persistent=False)

    @property
    def classes(self) -> int:
        """K."""
        return len(next(iter(self.inputs.values())))

    def samples(self, some: Tensor | None = None) -> dict[str, Input]:
        """The prototypes, or those of some classes, as a batch of model inputs {m: [K, ...]}, with gradient."""
        return {name: self._masked(name, prototype, some) for name, prototype in self.inputs.items()}

    def _masked(self, name: str, values: Tensor, some: Tensor | None) -> Input:
        own = values if some is None else values[some]
        if name not in self.masked:
            return own
        mask = self.get_buffer(f"mask_{name}")
        return Padded(own, mask if some is None else mask[some])

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Initial prototypes: the class means, or small noise drawn from `generator` (a CPU one)."""
        for name, prototype in self.inputs.items():
            if self.settings.init == "class_mean":
                prototype.copy_(self.get_buffer(f"mean_{name}"))
            else:
                prototype.copy_(torch.randn(prototype.shape, generator=generator) * self.settings.init_std)
                if name in self.masked:
                    prototype.masked_fill_(~self.get_buffer(f"mask_{name}")[..., None], 0)

    def decode(self, name: str) -> Tensor:
        """Psi_dap of a modality's prototypes: one gain and one shift per channel, from the identity. [K, ...]"""
        prototype = self.inputs[name]
        if name not in self.gain:
            return prototype
        shape = [1] * prototype.dim()
        shape[self.axes[name]] = -1
        return prototype * self.gain[name].view(shape) + self.shift[name].view(shape)

    def reconstruction(self) -> Tensor:
        """L_r of Eq. 4: squared distance to the class means, mean over (real) elements,
        or the literal sum over them divided by MK.
        """
        errors = torch.stack([self._error(name) for name in self.inputs])
        return errors.mean() if self.settings.recon == "mean" else errors.sum() / (len(self.inputs) * self.classes)

    def _error(self, name: str) -> Tensor:
        """Squared distance of a modality's decoded prototypes to its class means, summed or (`recon: mean`) averaged
        over real elements.
        """
        square = (self.decode(name) - self.get_buffer(f"mean_{name}")).square()
        mean = self.settings.recon == "mean"
        if name not in self.masked:
            return square.mean() if mean else square.sum()
        mask = self.get_buffer(f"mask_{name}")
        total = square.masked_fill(~mask[..., None], 0).sum()
        return total / (mask.sum() * square.shape[-1]).clamp_min(1) if mean else total

    def classification(
        self, model: MultimodalModel, outputs: Outputs, some: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L_cls of Eq. 3, the task's own loss on the K prototype samples' outputs (or on those of some classes, in
        order), and accuracies {"dap/accuracy", "dap/{m}/accuracy"}.

        With `cls: fused+unimodal` every modality's readout has to tell the prototypes apart too,
        else the dominant one does it alone.
        """
        labels = self.task.prototype_labels(outputs.logits.device)
        if some is not None:
            labels = labels[some]
        unimodal = self.settings.cls == "fused+unimodal"
        with torch.set_grad_enabled(unimodal and torch.is_grad_enabled()):
            readouts = model.readout(outputs.features)
        loss = self.task.loss(outputs.logits, labels)
        if unimodal:
            loss = loss + torch.stack([self.task.loss(logits, labels) for logits in readouts.values()]).sum()
        places = {"dap": outputs.logits, **{f"dap/{name}": logits for name, logits in readouts.items()}}
        return loss, {
            f"{place}/{name}": share
            for place, logits in places.items()
            for name, share in self.task.told_apart(logits, some).items()
        }

    def objective(
        self, model: MultimodalModel, outputs: Outputs, some: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 5, L_cls + L_r with their weights, and what to log of it. Terms of weight zero are left out."""
        classification, logs = self.classification(model, outputs, some)
        reconstruction = self.reconstruction()
        logs |= {"dap/L_cls": classification.detach(), "dap/L_r": reconstruction.detach()}
        weighted = [(self.settings.cls_weight, classification), (self.settings.recon_weight, reconstruction)]
        terms = [weight * term for weight, term in weighted if weight]
        return (torch.stack(terms).sum() if terms else torch.zeros_like(reconstruction)), logs


def fit_prototypes(
    model: MultimodalModel,
    prototypes: Prototypes,
    optimizer: torch.optim.Optimizer,
    steps: int,
    progress: bool = False,
    early_stop: bool = False,
) -> dict[str, Any]:
    """`steps` of Eq. 5 with the framework frozen and in evaluation mode
    (running statistics: K samples alone say little).

    Returns a log of lists: step, L_cls, L_r, accuracy and {m}/accuracy (a regression: and order), at about 20 steps and
    after the last. `progress` shows on stderr how far it is. With `early_stop` it ends at the first of these steps at
    which every readout that Eq. 3 asks gives all prototypes their own class (a regression: their order).
    """
    log: dict[str, list[float]] = {}
    every = max(1, steps // 20)
    with evaluation_mode(model):
        for step in watched(range(steps + 1), steps + 1, "prototypes", "steps", progress):
            loss, logs = prototypes.objective(model, model(prototypes.samples()))
            if step % every == 0 or step == steps:
                log.setdefault("step", []).append(step)
                for name, value in logs.items():
                    log.setdefault(name.removeprefix("dap/"), []).append(float(value))
                if early_stop and _told_apart(log, prototypes.settings):
                    break
            if step < steps and loss.requires_grad:
                # `inputs` keeps the framework's parameters out of the backward pass: frozen, and cheaper.
                loss.backward(inputs=list(prototypes.parameters()))
                average_gradients(list(prototypes.parameters()))
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
    return log


def _asked(log: dict[str, Any]) -> str:
    """What a fit has to reach: a regression's prototypes their order, others their own class (`told_apart`)."""
    return "order" if "order" in log else "accuracy"


def _told_apart(log: dict[str, list[float]], settings: DAPSettings) -> bool:
    """Whether every readout that Eq. 3 asks tells all prototypes apart, by the last step logged."""
    what = _asked(log)
    asked = [what, *(name for name in log if name.endswith(f"/{what}"))] if settings.cls != "fused" else [what]
    return all(log[name][-1] >= 1 for name in asked)


def require_accuracy(log: dict[str, Any], settings: DAPSettings, epoch: int) -> None:
    """Raise a UserError when the fused head gives too few of the fitted prototypes their own class (a regression: their
    order on the grid).
    """
    name = _asked(log)
    what = {"order": "their order on the grid of values", "accuracy": "their own class"}[name]
    reached = log[name][-1]
    if not reached >= settings.required_accuracy - 1e-6:
        by_modality = ", ".join(
            f"{each.partition('/')[0]} {100 * values[-1]:.0f} %"
            for each, values in log.items()
            if each.endswith(f"/{name}")
        )
        raise UserError(
            f"aim: after {log['step'][-1]} steps the fused head gives {100 * reached:.0f} % of the prototypes"
            f" {what} ({by_modality}), dap.required_accuracy asks for {100 * settings.required_accuracy:.0f} %,"
            f" on the warm-up of start_epoch {epoch}:"
            " raise dap.steps or dap.cls_weight, lower dap.recon_weight, or start later (start_epoch)"
        )
