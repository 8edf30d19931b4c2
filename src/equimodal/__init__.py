"""Workbench for balanced multimodal learning with AIM."""

from importlib import import_module
from typing import Any

__all__ = ["AIM", "Diagnosis", "Padded", "TrainingMonitor", "diagnose"]


def __getattr__(name: str) -> Any:
    # By name and on demand: the command line must not pay for torch, and no stage's code depends on AIM through this
    # file (closure.py).
    if name == "AIM":
        return import_module("equimodal.methods.aim.library").AIM
    if name == "Diagnosis":
        return import_module("equimodal.diagnosis.report").Diagnosis
    if name == "TrainingMonitor":
        return import_module("equimodal.diagnosis.training").TrainingMonitor
    if name == "diagnose":
        return import_module("equimodal.diagnosis.diagnose").diagnose
    if name == "Padded":
        return import_module("equimodal.models.padded").Padded
    raise AttributeError(f"module 'equimodal' has no attribute {name!r}")
