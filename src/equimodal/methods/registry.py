"""The training methods: name -> where it is, how it is trained. One line per method; nothing here imports torch."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from equimodal.settings.method import MethodSettings

if TYPE_CHECKING:
    from equimodal.methods.base import Method


Family = Literal["from-scratch", "from-warmup", "from-unimodal"]


@dataclass(frozen=True)
class Entry:
    """A folder below equimodal.methods, the class in its `method.py`, and the class in its `settings.py`.

    `family` says what training starts from: nothing, the shared warm-up and a fit on it, or trained models of one
    modality each.
    """

    folder: str
    method: str
    settings: str
    family: Family = "from-scratch"

    @property
    def module(self) -> str:
        """Full name of the method's module."""
        return f"equimodal.methods.{self.folder}.method"

    def load(self) -> "type[Method]":
        """The method's class (imports torch)."""
        return getattr(import_module(self.module), self.method)

    def load_settings(self) -> type[MethodSettings]:
        """The class of its settings (does not import torch)."""
        return getattr(import_module(f"equimodal.methods.{self.folder}.settings"), self.settings)


METHODS: dict[str, Entry] = {
    "joint": Entry("joint", "Joint", "JointSettings"),
    "joint-uni": Entry("joint_uni", "JointUni", "JointUniSettings"),
    "deep-uni": Entry("deep_uni", "DeepUni", "DeepUniSettings"),
    "aim-means": Entry("aim_means", "AIMMeans", "AIMMeansSettings"),
    "unimodal": Entry("unimodal", "Unimodal", "UnimodalSettings"),
    "finetune": Entry("finetune", "Finetune", "FinetuneSettings", family="from-unimodal"),
    "frozen": Entry("frozen", "Frozen", "FrozenSettings", family="from-unimodal"),
    "ensemble": Entry("ensemble", "Ensemble", "EnsembleSettings", family="from-unimodal"),
    "late": Entry("late", "Late", "LateSettings"),
    "g-blending": Entry("g_blending", "GBlending", "GBlendingSettings"),
    "ogm": Entry("ogm", "OGM", "OGMSettings"),
    "greedy": Entry("greedy", "Greedy", "GreedySettings"),
    "pmr": Entry("pmr", "PMR", "PMRSettings"),
    "agm": Entry("agm", "AGM", "AGMSettings"),
    "opm": Entry("opm", "OPM", "OPMSettings"),
    "mla": Entry("mla", "MLA", "MLASettings"),
    "dr": Entry("dr", "DR", "DRSettings"),
    "mmpareto": Entry("mmpareto", "MMPareto", "MMParetoSettings"),
    "inforeg": Entry("inforeg", "InfoReg", "InfoRegSettings"),
    "reconboost": Entry("reconboost", "ReconBoost", "ReconBoostSettings", family="from-unimodal"),
    "lfm": Entry("lfm", "LFM", "LFMSettings"),
    "dgl": Entry("dgl", "DGL", "DGLSettings"),
    "aug": Entry("aug", "AUG", "AUGSettings"),
    "mie": Entry("mie", "MIE", "MIESettings"),
    "shapley-alternating": Entry("shapley_alternating", "ShapleyAlternating", "ShapleyAlternatingSettings"),
    "mnl": Entry("mnl", "MNL", "MNLSettings"),
    "arm": Entry("arm", "ARM", "ARMSettings"),
    "mwam": Entry("mwam", "MWAM", "MWAMSettings"),
    "aim": Entry("aim", "AIMMethod", "AIMSettings", family="from-warmup"),
}
