"""Joint training whose encoders start from trained models of one modality each: a simple baseline that papers leave
out.
"""

from equimodal.methods.base import Method
from equimodal.methods.finetune.settings import FinetuneSettings


class Finetune(Method[FinetuneSettings]):
    """L = CE(f, y), every encoder from its single-modality model of the same seed (the epoch that validation chose),
    the fusion head from its own start.
    """

    paper = "baseline"
