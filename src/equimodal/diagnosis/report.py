"""What `diagnose` returns: its content, and how it is shown and kept."""

from pathlib import Path
from typing import Self

from pydantic import ValidationError

from equimodal.diagnosis.content import Content
from equimodal.diagnosis.page import page
from equimodal.diagnosis.text import text
from equimodal.errors import UserError
from equimodal.store import atomic, canonical_json


class Diagnosis(Content):
    """A diagnosis; `print` shows it on a terminal."""

    def __str__(self) -> str:
        return text(self)

    def to_json(self) -> str:
        """As JSON; `from_json` reads it."""
        return canonical_json(self.model_dump(mode="json"), indent=1)

    @classmethod
    def from_json(cls, content: str) -> Self:
        """A diagnosis that `to_json` wrote; a UserError if it is none."""
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(f"this JSON is no diagnosis of this version ({where}: {first['msg']})") from None

    def to_html(self, path: str | Path) -> None:
        """Write one page that needs nothing else: figures inside, no script, no network."""
        with atomic(Path(path)) as scratch:
            scratch.write_text(page(self), encoding="utf-8")
