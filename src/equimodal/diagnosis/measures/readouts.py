"""What the model says by one modality's features alone: the other encoders' outputs at zero."""

from equimodal.diagnosis.changes import Change
from equimodal.diagnosis.content import Entry
from equimodal.diagnosis.measures.base import Setting, others


def changes(modalities: tuple[str, ...]) -> list[Change]:
    """All encoders but one at zero."""
    return [Change("zero-feature", others(modalities, [name])) for name in modalities]


def compute(setting: Setting) -> list[Entry]:
    """`score` of each modality's readout."""
    names = setting.modalities
    scores = setting.means([setting.runner.run(change).scores for change in changes(names)])
    return [setting.entry("score", name, each) for name, each in zip(names, scores, strict=True)]
