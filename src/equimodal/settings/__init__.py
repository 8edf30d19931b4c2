"""params.yaml as typed, resolved settings. Cheap to import: no torch, no media libraries.

The names of `settings.params` are here too, but resolved late: it imports every dataset's settings, which import their base from this package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equimodal.settings.params import Params, ResolvedMethod, load, parse

__all__ = ["Params", "ResolvedMethod", "load", "parse"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module("equimodal.settings.params"), name)
