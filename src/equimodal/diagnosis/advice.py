"""Which methods of this project address what a diagnosis found, and what they cost."""

from collections.abc import Sequence
from typing import Literal

from equimodal.diagnosis.content import Advice

Need = Literal["encoder", "head", "feed", "overfit"]

UNIMODAL = Advice(
    method="joint-uni",
    why="a loss on each modality's own readout keeps the gradient of its encoder alive; the baseline to beat",
    cost="1.01 of joint training's time",
)
DEEP = Advice(
    method="deep-uni",
    why="the same on each of the last blocks: the best of this project's on real data",
    cost="1.06 of joint training's time",
)
AIM = Advice(
    method="aim-fast",
    why="modulates every block by how far it lags behind the other modality's, as measured by class-mean and alpha",
    cost="1.3 of joint training's operations (aim: 2.2)",
)
ADVICE: dict[Need, list[Advice]] = {
    "encoder": [UNIMODAL, DEEP, AIM],
    "head": [
        UNIMODAL,
        Advice(
            method="late",
            why="a classifier for each modality, summed with weights tuned on validation: no head can overhear one",
            cost="joint training's steps, and a search on validation at the end of each epoch",
        ),
        Advice(
            method="opm",
            why="drops features of the leading modality while training, so that the head learns to use the others",
            cost="joint training's steps",
        ),
    ],
    "feed": [
        Advice(
            method="unimodal",
            why="one modality alone: says whether its input and encoder work, and what there is to win by balance",
            cost="a run with one encoder",
        ),
    ],
    "overfit": [
        Advice(
            method="g-blending",
            why="weighs each modality's loss by how well it generalises",
            cost="about three times joint training's time",
        ),
        Advice(
            method="late",
            why="weights tuned on validation may give the modality none",
            cost="joint training's steps, and a search on validation at the end of each epoch",
        ),
    ],
}


def advice(needs: Sequence[Need]) -> list[Advice]:
    """What addresses the needs, each method once."""
    found = {each.method: each for need in needs for each in ADVICE[need]}
    return list(found.values())
