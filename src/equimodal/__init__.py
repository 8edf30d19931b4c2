"""Workbench for balanced multimodal learning with AIM."""

from importlib import import_module
from typing import Any

__all__ = ["AIM", "Padded"]


def __getattr__(name: str) -> Any:
    # By name and on demand: the command line must not pay for torch, and no stage's code depends on AIM through this
    # file (closure.py).
    if name == "AIM":
        return import_module("equimodal.methods.aim.library").AIM
    if name == "Padded":
        return import_module("equimodal.models.padded").Padded
    raise AttributeError(f"module 'equimodal' has no attribute {name!r}")
