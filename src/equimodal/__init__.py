"""Workbench for balanced multimodal learning with AIM."""

from importlib import import_module
from typing import Any

__all__ = ["AIM", "Clip", "Padded", "load"]


def __getattr__(name: str) -> Any:
    # By name and on demand: the command line must not pay for torch, and no stage's code depends on AIM through this
    # file (closure.py).
    if name == "AIM":
        return import_module("equimodal.methods.aim.library").AIM
    if name == "Padded":
        return import_module("equimodal.models.padded").Padded
    if name == "Clip":
        return import_module("equimodal.inference.clips").Clip
    if name == "load":
        return import_module("equimodal.inference.model").load
    raise AttributeError(f"module 'equimodal' has no attribute {name!r}")
