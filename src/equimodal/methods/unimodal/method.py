"""One modality alone, same encoder and recipe (methods.md section 5)."""

from collections.abc import Iterable

from equimodal.errors import UserError
from equimodal.methods.base import Method
from equimodal.methods.unimodal.settings import UnimodalSettings


class Unimodal(Method[UnimodalSettings]):
    """L = CE(Linear(z^m), y)."""

    paper = "baseline"

    @classmethod
    def modalities(cls, settings: UnimodalSettings, available: Iterable[str]) -> list[str]:
        names = list(available)
        if settings.modality not in names:
            raise UserError(f"this dataset has no modality '{settings.modality}'; it has: {', '.join(names)}")
        return [settings.modality]
