"""The whole of params.yaml as typed, resolved settings, on top of the registries.

Cheap to import: no torch, no media libraries.
"""

from equimodal.params.reading import load_params, parse_params, warn_of_broken
from equimodal.params.resolve import Params, ResolvedMethod, Weights

__all__ = ["Params", "ResolvedMethod", "Weights", "load_params", "parse_params", "warn_of_broken"]
