"""How fast each modality's encoder learns while somebody's own loop trains a model."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import cast

import torch
from torch import Tensor, nn

from equimodal.diagnosis.content import Entry, Estimate, Measured
from equimodal.diagnosis.hooks import submodule
from equimodal.errors import UserError
from equimodal.metrics.running import RunningMeans


class TrainingMonitor:
    """Gradient norms, learning speeds, and cosines between modalities, by epoch, of a plain training loop:

        monitor = equimodal.TrainingMonitor(model, {"audio": "audio_encoder", "visual": "visual_encoder"})
        for each epoch:
            for each batch:
                loss.backward()
                monitor.after_backward()  # before the optimizer's step; gradients unscaled and unclipped
                optimizer.step()
            monitor.end_epoch()
        report = equimodal.diagnose(..., training=monitor)

    It reads weights and gradients and changes nothing: the same weights come out of the loop, bit for bit. Numbers stay
    on the device until an epoch ends.

    Per modality m, with encoder weights theta and their gradient G:

    - `gradient`: |G|, mean over the epoch's steps.
    - `speed`: |G|^2 / |theta|^2, mean over the epoch's steps (Wu et al. 2022, arXiv 2202.05306, the learning speed of
      weights; it is that of SGD, as Adam divides gradients by their size).
    - `moved`: |theta at the end - theta at the start| / |theta at the start| of the epoch, whatever the optimizer.
    - `cosine`, where `unimodal` is called: of two modalities, between the gradients of their own losses with respect to
      the weights that they share (Wei and Hu 2024, arXiv 2405.17730; below 0 they conflict).

    Args:
        encoders: modality -> submodule.
        shared: submodules whose weights all modalities use, for `cosine`; by default everything outside the encoders.

    Raises:
        UserError: a name that is no submodule, an encoder without trained weights, weights that two encoders share.
    """

    def __init__(self, model: nn.Module, encoders: Mapping[str, str], shared: Sequence[str] | None = None) -> None:
        self._encoders = {name: _trained(submodule(model, own, "encoders")) for name, own in encoders.items()}
        for name, weights in self._encoders.items():
            if not weights:
                raise UserError(f"TrainingMonitor: the encoder of {name} has no weights that are trained")
        owned = [id(weight) for weights in self._encoders.values() for weight in weights]
        if len(set(owned)) < len(owned):
            raise UserError("TrainingMonitor: two encoders share weights: name what each modality has for itself")
        parts = [model] if shared is None else [submodule(model, name, "shared") for name in shared]
        found = {id(weight): weight for part in parts for weight in _trained(part)}
        self._shared = [weight for key, weight in found.items() if key not in set(owned)]
        self._epochs: list[dict[str, float]] = []
        self._restart()

    def _restart(self) -> None:
        self._means = RunningMeans()
        self._start = {name: _flat(weights) for name, weights in self._encoders.items()}

    @torch.no_grad()
    def after_backward(self) -> None:
        """Count a step, when its gradients are there. Weights without a gradient count with 0."""
        scalars: dict[str, Tensor] = {}
        for name, weights in self._encoders.items():
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            length = nn.utils.get_total_norm(gradients).double().to(weights[0].device)
            size = nn.utils.get_total_norm([weight.detach() for weight in weights]).double()
            scalars[f"gradient/{name}"] = length
            scalars[f"speed/{name}"] = length.square() / size.square()
        self._means.add(scalars)

    def unimodal(self, losses: Mapping[str, Tensor]) -> None:
        """Count the gradients of each modality's own loss {m: []} in the shared weights. Call it before `backward`, as
        often as wanted (it costs a backward pass of each loss); `.grad` is left as it is, the graph too.

        Raises:
            UserError: no weight is shared, or a loss does not reach any.
        """
        if not self._shared:
            raise UserError("TrainingMonitor: no weights are shared: name submodules by shared=")
        flat = {}
        for name, loss in losses.items():
            found = torch.autograd.grad(loss, self._shared, retain_graph=True, allow_unused=True)
            if all(gradient is None for gradient in found):
                raise UserError(f"TrainingMonitor: the loss of {name} reaches no shared weight: name others by shared=")
            flat[name] = torch.cat(
                [
                    (torch.zeros_like(weight) if gradient is None else gradient).flatten().double()
                    for weight, gradient in zip(self._shared, found, strict=True)
                ]
            )
        pairs = combinations(flat, 2)
        self._means.add({f"cosine/{a} x {b}": torch.cosine_similarity(flat[a], flat[b], dim=0) for a, b in pairs})

    @torch.no_grad()
    def end_epoch(self) -> dict[str, float]:
        """End an epoch; its numbers by "quantity/modality", to log."""
        found = self._means.means()
        for name, weights in self._encoders.items():
            start = self._start[name]
            found[f"moved/{name}"] = float((_flat(weights) - start).norm() / start.norm())
        self._epochs.append(found)
        self._restart()
        return dict(found)

    def measured(self) -> Measured:
        """The epochs so far, as a diagnosis shows them; without the numbers that are not finite, of a run that
        diverged.
        """
        entries = [
            Entry(quantity=key.partition("/")[0], of=key.partition("/")[2], at=epoch, estimate=_plain(numbers[key]))
            for epoch, numbers in enumerate(self._epochs, 1)
            for key in sorted(numbers, key=self._place)
            if math.isfinite(numbers[key])
        ]
        return Measured(
            name="training",
            title="Gradients and learning speeds while training",
            source="learning speed: Wu et al. 2022, arXiv 2202.05306; cosine: Wei and Hu 2024, arXiv 2405.17730",
            numbers="gradient: its norm; speed: its square over the weights'; moved: way from the start over its"
            " norm; cosine: between two modalities' gradients of shared weights",
            passes=0,
            axis="epoch",
            entries=entries,
        )

    def _place(self, key: str) -> tuple[int, str]:
        return ("gradient", "speed", "moved", "cosine").index(key.partition("/")[0]), key


def _trained(part: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in part.parameters() if weight.requires_grad]


def _flat(weights: Sequence[Tensor]) -> Tensor:
    return cast(Tensor, torch.cat([weight.detach().flatten().float() for weight in weights]))


def _plain(value: float) -> Estimate:
    return Estimate(value=value, low=None, high=None)
