"""Workbench for balanced multimodal learning with AIM."""

from importlib import import_module
from typing import Any

# Without the callbacks: `from equimodal import *` must not need packages that are optional.
__all__ = ["AIM", "Clip", "Diagnosis", "Padded", "TrainingMonitor", "diagnose", "load", "workflow_folder"]

HOMES = {
    "AIM": "equimodal.methods.aim.library",
    "Clip": "equimodal.inference.clips",
    "Diagnosis": "equimodal.diagnosis.report",
    "HuggingFaceMonitor": "equimodal.diagnosis.huggingface_monitor",
    "LightningMonitor": "equimodal.diagnosis.lightning_monitor",
    "Padded": "equimodal.models.padded",
    "TrainingMonitor": "equimodal.diagnosis.training",
    "diagnose": "equimodal.diagnosis.diagnose",
    "load": "equimodal.inference.model",
    "workflow_folder": "equimodal.engines.packaged",
}


def __getattr__(name: str) -> Any:
    # By name and on demand: the command line must not pay for torch, and no stage's code depends on AIM through this
    # file (closure.py).
    if name not in HOMES:
        raise AttributeError(f"module 'equimodal' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)
