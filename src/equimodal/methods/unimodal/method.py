"""One modality alone, same encoder and recipe (methods.md section 5)."""

from collections.abc import Iterable

from equimodal.errors import UserError
from equimodal.methods.base import Method
from equimodal.settings.method import MethodSettings


class Unimodal(Method):
    """L = CE(Linear(z^m), y)."""

    paper = "baseline"

    @classmethod
    def modalities(cls, settings: MethodSettings, available: Iterable[str]) -> list[str]:
        wanted: str = settings.modality  # type: ignore[attr-defined]
        names = list(available)
        if wanted not in names:
            raise UserError(f"this dataset has no modality '{wanted}'; it has: {', '.join(names)}")
        return [wanted]
