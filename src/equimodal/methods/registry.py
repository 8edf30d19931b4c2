"""The training methods: name -> where it is, its settings, how it is trained. One line a method; nothing here imports torch."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from equimodal.settings import methods as settings

if TYPE_CHECKING:
    from equimodal.methods.base import Method


@dataclass(frozen=True)
class Entry:
    """`target` is module:class below equimodal.methods; `family` says whether training starts from scratch or from the shared warm-up."""

    target: str
    settings: type[settings.MethodSettings]
    family: Literal["from-scratch", "from-warmup"] = "from-scratch"

    @property
    def module(self) -> str:
        """Full module name."""
        return f"equimodal.methods.{self.target.partition(':')[0]}"

    def load(self) -> "type[Method]":
        """Import the method's class (imports torch)."""
        return getattr(import_module(self.module), self.target.partition(":")[2])


METHODS: dict[str, Entry] = {
    "joint": Entry("joint:Joint", settings.JointSettings),
    "joint-uni": Entry("joint_uni:JointUni", settings.JointUniSettings),
    "unimodal": Entry("unimodal:Unimodal", settings.UnimodalSettings),
    "ogm": Entry("ogm:OGM", settings.OGMSettings),
    "aug": Entry("aug:AUG", settings.AUGSettings),
    "aim": Entry("aim.method:AIMMethod", settings.AIMSettings, family="from-warmup"),
}
