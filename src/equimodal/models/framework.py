"""The multimodal framework: encoders with their blocks exposed, and a fusion head."""

from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from equimodal.models.encoder import Encoder, aligned_depths, select
from equimodal.models.fusion import Fusion
from equimodal.models.initialisation import initialise
from equimodal.models.padded import Input
from equimodal.models.registry import ENCODERS, KIND_OF_RANK, choose
from equimodal.settings.training import ModelSettings


@dataclass(frozen=True)
class Stage:
    """One block's pass: its input I_d, its output, and the output pooled to [B, C_d]."""

    input: Any
    output: Any
    pooled: Tensor


@dataclass(frozen=True)
class Outputs:
    """What a forward pass gives: fused logits [B, outputs], features {m: [B, d_m]}, the D stages of every modality."""

    logits: Tensor
    features: dict[str, Tensor]
    stages: dict[str, list[Stage]]

    def depths(self) -> dict[str, list[Stage]]:
        """The stages that stand for depths 1..D, D the depth of the shallowest encoder."""
        places = aligned_depths({name: len(line) for name, line in self.stages.items()})
        return {name: [line[place] for place in places[name]] for name, line in self.stages.items()}

    def rows(self, samples: slice) -> "Outputs":
        """The same for some of the batch's samples (prototypes ride behind them)."""
        batch = len(self.logits)
        stages = {
            name: [
                Stage(select(s.input, batch, samples), select(s.output, batch, samples), s.pooled[samples])
                for s in line
            ]
            for name, line in self.stages.items()
        }
        return Outputs(self.logits[samples], {name: z[samples] for name, z in self.features.items()}, stages)


class Exchange(nn.Module):
    """What stands between two depths of a model and lets its encoders see each other's maps; part of the exported
    model.

    Encoders of unequal depth are aligned by relative depth, as `Outputs.depths`.
    """

    def forward(self, depth: int, maps: dict[str, Any], pooled: dict[str, Tensor]) -> dict[str, Any]:
        """The maps {m: block output} that the next blocks shall see, given those of depth `depth` (from 0) and their
        pooled outputs {m: [B, C_d]}. Modalities that are not in it keep theirs.
        """
        raise TypeError(f"{type(self).__name__} must define forward")


class MultimodalModel(nn.Module):
    """Encoders {m: Encoder} and a fusion head. `forward` gives everything a method may look at.

    `forward` is `encode`, then `fuse`; a method that changes features before fusion calls them apart. `predict` is what
    evaluation, selection and export use: the same, but with the head's rule of prediction.

    Attributes:
        exchange: None, or what passes maps between encoders at every depth (a method's `adapt` puts it there).
    """

    exchange: Exchange | None

    def __init__(self, encoders: dict[str, Encoder], fusion: Fusion) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion
        self.exchange = None

    @property
    def modalities(self) -> list[str]:
        """Names in order."""
        return list(self.encoders)

    def forward(self, inputs: dict[str, Input]) -> Outputs:
        """Pass inputs {m: [B, ...]} through all blocks and the fusion head."""
        stages = self.encode(inputs)
        features = pooled_features(stages)
        return Outputs(self.fuse(features), features, stages)

    def predict(self, inputs: dict[str, Input]) -> Outputs:
        """As `forward`, with logits by the head's rule of prediction (`Fusion.predict`)."""
        stages = self.encode(inputs)
        features = pooled_features(stages)
        return Outputs(self.fusion.predict(features), features, stages)

    def encode(self, inputs: dict[str, Input]) -> dict[str, list[Stage]]:
        """The stages of every modality, of inputs {m: [B, ...]}; their features are `pooled_features`."""
        encoders = cast(dict[str, Encoder], self.encoders)
        if self.exchange is None:
            return {name: _through(encoder, inputs[name]) for name, encoder in encoders.items()}
        places = aligned_depths({name: len(encoder.blocks) for name, encoder in encoders.items()})
        maps = {name: encoder.prepare(inputs[name]) for name, encoder in encoders.items()}
        stages: dict[str, list[Stage]] = {name: [] for name in encoders}
        for depth in range(len(places[self.modalities[0]])):
            before, outputs = {}, {}
            for name, encoder in encoders.items():
                place = places[name][depth]
                for block in encoder.blocks[len(stages[name]) : place]:  # those of a deeper encoder that stand for none
                    stages[name].append(_stage(encoder, maps[name], output := block(maps[name]), len(inputs[name])))
                    maps[name] = output
                before[name], outputs[name] = maps[name], encoder.blocks[place](maps[name])
            pooled = {name: encoder.pool(outputs[name], len(inputs[name])) for name, encoder in encoders.items()}
            exchanged = self.exchange(depth, outputs, pooled)
            maps = outputs | exchanged
            for name, encoder in encoders.items():  # what the next depth sees, and the head, is what was exchanged
                found = encoder.pool(maps[name], len(inputs[name])) if name in exchanged else pooled[name]
                stages[name].append(Stage(before[name], maps[name], found))
        return stages

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        """Fused logits [B, outputs] of features {m: [B, d_m]}."""
        logits: Tensor = self.fusion(features)
        return logits

    def readout(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits [B, K] of each modality alone, by the fusion head's estimator."""
        return self.fusion.readout(features)


def pooled_features(stages: dict[str, list[Stage]]) -> dict[str, Tensor]:
    """Features z^m {m: [B, d_m]}: the pooled outputs of the last blocks."""
    return {name: line[-1].pooled for name, line in stages.items()}


def _through(encoder: Encoder, x: Input) -> list[Stage]:
    maps = encoder.prepare(x)
    line: list[Stage] = []
    for block in encoder.blocks:
        output = block(maps)
        line.append(_stage(encoder, maps, output, len(x)))
        maps = output
    return line


def _stage(encoder: Encoder, before: Any, output: Any, batch: int) -> Stage:
    return Stage(before, output, encoder.pool(output, batch))


def build_model(
    shapes: dict[str, tuple[int, ...]],
    outputs: int,
    settings: ModelSettings,
    channels_last: bool = True,
    averaged: bool = False,
    kinds: dict[str, str] | None = None,
) -> MultimodalModel:
    """A model for inputs of the given shapes, initialised from the global torch generator.

    A model of one modality has nothing to fuse: one Linear (`concat`), whatever `model.fusion` says.

    Args:
        shapes: modality -> shape of one model input: (C, F, T) of a spectrogram, (C, T, H, W) of pictures, (L, W) of
            sequences, (W) of vectors.
        outputs: width of the head's output: K classes, or one number.
        averaged: the modalities' readouts average to the fused output (regression) instead of adding up to it.
        kinds: modality -> kind of feature; by default what its shape says.
    """
    from equimodal.models.fusion import FUSIONS

    kinds = kinds or {name: KIND_OF_RANK[len(shape)] for name, shape in shapes.items()}
    chosen = choose(kinds, settings.encoders)
    encoders = {
        name: ENCODERS[chosen[name]].load().build(shape, kinds[name], settings, channels_last)
        for name, shape in shapes.items()
    }
    head = FUSIONS[settings.fusion if len(encoders) > 1 else "concat"]
    fusion = head({name: encoder.dims[-1] for name, encoder in encoders.items()}, outputs)
    fusion.averaged = averaged
    model = MultimodalModel(encoders, fusion)
    if settings.init == "ogm":
        initialise(model)
    return model
