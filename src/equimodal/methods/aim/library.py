"""AIM for one's own model and training loop: any encoders given as lists of blocks, any head (docs/own_model.md)."""

import copy
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from equimodal.errors import UserError
from equimodal.methods.aim.modulation import Terms
from equimodal.methods.aim.modulator import Modulator
from equimodal.methods.aim.settings import AIMSettings
from equimodal.methods.aim.stepping import Stepper
from equimodal.methods.class_means import ClassMeans
from equimodal.models.encoder import Encoder
from equimodal.models.framework import MultimodalModel
from equimodal.models.frozen import evaluation_mode
from equimodal.models.fusion import Fusion
from equimodal.models.padded import Input, Padded
from equimodal.objectives import Classification
from equimodal.progress import watched
from equimodal.settings.base import deep_merge, describe

Features = dict[str, Tensor]
Sample = tuple[dict[str, Input], Tensor]


class AIM(nn.Module):
    """Adaptive intra-network modulation (arXiv 2508.19769) as a loss to add to one's own, and a step to take after
    one's own optimizer's.

    1. Train the model as usual for a few epochs (the warm-up).
    2. `aim.fit(loader)`: class prototypes on the model as it is; the model does not change.
    3. Every batch: `terms = aim.loss(inputs, labels)`, add `terms.loss` to your loss of `terms.logits`, backward, your
       optimizer's step, `aim.step()`. At each epoch's end `aim.end_epoch()`.

    The model is used, not held: `aim.parameters()` and `aim.state_dict()` are AIM's own, trained by `aim.step()`; give
    your optimizer your model's parameters only. After training drop the AIM object: inference is your model.

    Args:
        encoders: modality -> its blocks, shallow to deep; each maps one value (a tensor, or a pytree of tensors with
            the batch first) to the next. What comes before the first block (stem, embedding) belongs to the first
            block. Sequences of unequal length are inputs of type equimodal.Padded; their prototypes have a mask, too.
        head: class logits [B, K] of the last blocks' pooled outputs {m: [B, C]}.
        classes: K.
        pool: maps [B, ...] -> [B, C]; the default takes vectors as they are and averages maps [B, C, ...] of pictures
            and spectrograms over all other axes, Padded ones over their real steps. A function, or one per modality.
        readout: {m: logits [B, K]} of the pooled outputs, each modality alone; by default the head with the other
            features at zero.
        affine_axis: axis of an input that holds its channels (with the batch as axis 0). A number, or one per modality.
        seed: of AIM's own random draws.
        settings: the keys of `methods.aim` in params.yaml, as keywords (lambda_mod=3.0, dap={"steps": 100});
            `start_epoch` and `task_loss` are yours to decide and not taken.

    Raises:
        UserError: settings or model that AIM cannot work with.
    """

    def __init__(
        self,
        encoders: dict[str, Sequence[nn.Module]],
        head: Callable[[Features], Tensor],
        classes: int,
        *,
        pool: Callable[[Any], Tensor] | dict[str, Callable[[Any], Tensor]] | None = None,
        readout: Callable[[Features], Features] | None = None,
        affine_axis: int | dict[str, int] = 1,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__()
        for taken in ("start_epoch", "task_loss"):
            if taken in settings:
                raise UserError(f"AIM: {taken} is decided by your own loop: leave it out")
        self.settings = read_settings(settings)
        self.classes = classes
        self.seed = seed
        wrapped: dict[str, Encoder] = {}
        for name, blocks in encoders.items():
            axis = affine_axis[name] if isinstance(affine_axis, dict) else affine_axis
            wrapped[name] = BlockList(name, blocks, pool[name] if isinstance(pool, dict) else pool, axis)
        self._model = (MultimodalModel(wrapped, Head(head, readout)),)  # a tuple: not a submodule
        self.modulator: Modulator | None = None
        self._stepper: Stepper | None = None

    def fit(self, batches: Iterable[Sample], progress: bool = True) -> dict[str, Any]:
        """Fit prototypes on the frozen model, and try the PDM; returns a log (fitting.fit_modulator).

        Args:
            batches: training batches (inputs {m: [B, ...]}, labels [B]) on the model's device; passed through once for
                the class means, and five of them for the PDM.
            progress: show on a terminal's stderr how far it is; nothing is shown where stderr is none.

        Raises:
            UserError: a class without a sample; prototypes that the head does not tell apart.
        """
        progress = progress and sys.stderr.isatty()
        if self._stepper is None:
            total = len(batches) if isinstance(batches, Sized) else 0
            self._build(
                class_means(watched(batches, total, "class means", "batches", progress and total > 0), self.classes)
            )
        assert self._stepper is not None

        def endless() -> Iterator[Sample]:
            while True:
                yield from batches

        log, fitted = self._stepper.fit(endless, self.settings.pam, progress)
        self._stepper.load_fit(fitted)
        return log

    def loss(self, inputs: dict[str, Input], labels: Tensor) -> Terms:
        """Pass a batch through the model, prototypes riding along, and give AIM's terms.

        Returns:
            `loss`: lambda L_mod + Eq. 5, to add to your own; `logits` [B, K] and `features` {m: [B, C]} of the samples,
            from the same pass (your loss needs no second one); `logs`: scalars, detached.
        """
        terms = self._ready().terms(inputs, labels)
        return (
            terms
            if terms.loss is not None
            else Terms(terms.logits.sum() * 0.0, terms.logits, terms.features, terms.logs)
        )

    def step(self) -> None:
        """Train the prototypes, after your optimizer's step."""
        self._ready().step()

    def end_epoch(self) -> dict[str, float]:
        """End an epoch: the parameter decoupling begins anew with the next batch, and with `update: alternate` the
        prototypes move. Returns scalars to log. The place to save a state: it holds no parameter decoupling.
        """
        stepper = self._ready()
        found = stepper.end_epoch()
        stepper.begin_epoch()
        return found

    def get_extra_state(self) -> dict[str, Any]:
        """Steps taken, the optimizers' states and the class means, for `state_dict`."""
        if self._stepper is None:
            return {"count": 0, "optimizers": {}, "means": {}}
        # Copies: optimizers would go on writing into the tensors of a state that is kept in memory.
        states = {name: copy.deepcopy(optimizer.state_dict()) for name, optimizer in self._stepper.optimizers.items()}
        means = {
            name: (mean.values, mean.mask) if isinstance(mean, Padded) else (mean, None)
            for name, mean in (self._stepper.class_means or {}).items()
        }
        return {"count": self._stepper.count, "optimizers": states, "means": means}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """What `get_extra_state` gave."""
        stepper = self._ready()
        stepper.count = state["count"]
        for name, value in state["optimizers"].items():
            stepper.optimizers[name].load_state_dict(value)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Take up a saved state; a fresh object needs no `fit` before."""
        if self._stepper is None:
            saved = state_dict.get("_extra_state", {}).get("means", {})
            self._build({name: mean if mask is None else Padded(mean, mask) for name, (mean, mask) in saved.items()})
        return super().load_state_dict(state_dict, strict, assign)

    def _build(self, means: dict[str, Input]) -> None:
        model = self._model[0]
        if self.settings.scores == "label" and not means:
            raise UserError(
                "AIM: with scores: label call fit before load_state_dict, so that the widths of the blocks are known"
            )
        for name, encoder in model.encoders.items():
            assert isinstance(encoder, BlockList)
            encoder.measure(means[name])
        self.modulator = Modulator(model, self.settings, Classification(self.classes), means, self.seed).to(
            next(iter(means.values())).device
        )
        self._stepper = Stepper(self.modulator, means)

    def _ready(self) -> Stepper:
        if self._stepper is None:
            raise UserError("AIM: call fit (after the warm-up) or load_state_dict first")
        return self._stepper


def read_settings(values: dict[str, Any]) -> AIMSettings:
    """AIM's settings from keywords; `preset` gives the values that the others override.

    A UserError names the first wrong one.
    """
    preset = values.get("preset")
    if preset is not None and preset not in AIMSettings.presets:
        raise UserError(f"AIM: there is no preset {preset!r}; valid: {', '.join(AIMSettings.presets)}")
    try:
        return AIMSettings.model_validate(deep_merge(AIMSettings.presets[preset], values) if preset else values)
    except ValidationError as error:
        raise UserError(describe(AIMSettings, error.errors(), "AIM").removeprefix("params.yaml: ")) from None


class BlockList(Encoder):
    """Blocks of a model that is not ours as an encoder."""

    def __init__(
        self, name: str, blocks: Sequence[nn.Module], pool: Callable[[Any], Tensor] | None, affine_axis: int
    ) -> None:
        super().__init__()
        if not blocks:
            raise UserError(f"AIM: encoder {name} has no blocks")
        self.name = name
        self.layers = nn.ModuleList(blocks)
        self.pooling = pool
        self.affine_axis = affine_axis
        self.dims = ()

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        return tuple(self.layers)

    def pool(self, maps: Any, batch: int) -> Tensor:
        if self.pooling is not None:
            return self.pooling(maps)
        if isinstance(maps, Padded):
            return maps.mean()
        if not isinstance(maps, Tensor) or maps.dim() == 3:
            raise UserError(
                f"AIM: how to pool the blocks of {self.name} is not clear from their outputs: pass pool (for"
                " tokens [B, T, C]: lambda maps: maps.mean(1))"
            )
        return maps if maps.dim() == 2 else maps.mean(tuple(range(2, maps.dim())))

    @torch.no_grad()
    def measure(self, inputs: Input) -> None:
        """Find `dims` by passing inputs through in evaluation mode."""
        widths: list[int] = []
        maps: Any = inputs
        with evaluation_mode(self):
            for block in self.layers:
                maps = block(maps)
                widths.append(self.pool(maps, len(inputs)).shape[1])
        self.dims = tuple(widths)


class Head(Fusion):
    """A head that is not ours as a fusion."""

    def __init__(self, head: Callable[[Features], Tensor], readout: Callable[[Features], Features] | None) -> None:
        nn.Module.__init__(self)
        self.head = head
        self.own_readout = readout

    def forward(self, features: Features) -> Tensor:
        return self.head(features)

    def readout(self, features: Features) -> Features:
        return self.own_readout(features) if self.own_readout is not None else self.zero_feature(features)


def class_means(batches: Iterable[Sample], classes: int) -> dict[str, Input]:
    """Mean input of every class {m: [K, ...]} over batches; a UserError when a class has no sample."""
    means = ClassMeans(Classification(classes))
    for inputs, labels in batches:
        means.add(inputs, labels)
    if bool((means.counts == 0).any()):
        raise UserError(f"AIM: fit needs samples of all {classes} classes (labels 0 to {classes - 1})")
    return means.result()
