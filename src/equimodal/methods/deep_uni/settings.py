"""Settings of deep-uni."""

from equimodal.methods.deep_supervision.settings import DeepSupervisionSettings


class DeepUniSettings(DeepSupervisionSettings):
    """joint-uni with a linear classifier on each of the last blocks, whose gradient trains the encoder too.

    aim.md section 13.
    """
