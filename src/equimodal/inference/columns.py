"""Predictions as columns: the same names in files that evaluation writes and in those of `equimodal predict`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def columns(fused: Array, alone: Mapping[str, Array], classes: Sequence[str]) -> dict[str, Any]:
    """Columns of n samples: `prediction`, `probability` and `p:CLASS` of the fused answer, then of each modality alone
    `MODALITY:prediction` and `MODALITY:p:CLASS`. A regression has the predictions only, which are numbers.

    Args:
        fused: probabilities [n, K], or numbers [n].
        alone: the same of each modality.
        classes: K names; empty in a regression.
    """
    found: dict[str, Any] = {"prediction": decided(fused, classes)}
    if classes:
        found["probability"] = fused.max(1, initial=0.0)
        found |= {f"p:{name}": fused[:, place] for place, name in enumerate(classes)}
    for modality, scores in alone.items():
        found[f"{modality}:prediction"] = decided(scores, classes)
        found |= {f"{modality}:p:{name}": scores[:, place] for place, name in enumerate(classes)}
    return found


def decided(scores: Array, classes: Sequence[str]) -> list[Any]:
    """Class names (numbers, in a regression) of scores [n, K] or [n]."""
    if not classes:
        return [float(value) for value in scores]
    return [classes[place] for place in scores.argmax(1)]
