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
    """What a forward pass gives: fused logits [B, outputs], features {m: [B, d_m]}, and the D stages of every
    modality.
    """

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


class MultimodalModel(nn.Module):
    """Encoders {m: Encoder} and a fusion head. `forward` gives everything a method may look at."""

    def __init__(self, encoders: dict[str, Encoder], fusion: Fusion) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion

    @property
    def modalities(self) -> list[str]:
        """Names in order."""
        return list(self.encoders)

    def forward(self, inputs: dict[str, Input]) -> Outputs:
        """Pass inputs {m: [B, ...]} through all blocks and the fusion head."""
        stages: dict[str, list[Stage]] = {}
        for name, encoder in cast(dict[str, Encoder], self.encoders).items():
            x = inputs[name]
            maps = encoder.prepare(x)
            line: list[Stage] = []
            for block in encoder.blocks:
                output = block(maps)
                line.append(Stage(maps, output, encoder.pool(output, len(x))))
                maps = output
            stages[name] = line
        features = {name: line[-1].pooled for name, line in stages.items()}
        return Outputs(self.fusion(features), features, stages)

    def readout(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits [B, K] of each modality alone, by the fusion head's estimator."""
        return self.fusion.readout(features)


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
