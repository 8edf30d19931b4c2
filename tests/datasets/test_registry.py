"""Every kind that settings allow has its code, and the settings shown in docs/datasets are accepted."""

import textwrap
from pathlib import Path
from typing import get_args

import pytest
import yaml

from equimodal.datasets.base import DatasetKind
from equimodal.datasets.registry import KINDS
from equimodal.errors import UserError
from equimodal.settings.datasets import DatasetSettings, SplitSettings
from small_datasets import CREMAD, KS, TABLE, UCF101, kind_of, params_of


def test_every_kind_has_its_code_and_its_settings(root: Path) -> None:
    for kind, entry in KINDS.items():
        settings = entry.load_settings()
        assert issubclass(settings, DatasetSettings) and get_args(settings.model_fields["kind"].annotation) == (kind,)
        assert issubclass(entry.load(), DatasetKind)
        assert (root / "src" / (KINDS[kind].module.replace(".", "/") + ".py")).is_file()


@pytest.mark.parametrize("base", [CREMAD, TABLE, UCF101, KS])
def test_a_dataset_is_made_from_its_settings(base: dict) -> None:
    kind = kind_of(params_of(base), "d")
    assert (
        isinstance(kind, DatasetKind) and kind.name == "d" and kind.workers == 2 and kind.settings.kind == base["kind"]
    )


@pytest.mark.parametrize("page", ["cremad", "table", "ks"])
def test_settings_shown_in_the_docs_are_accepted(root: Path, page: str) -> None:
    text = (root / "docs" / "datasets" / f"{page}.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    start = next(
        number
        for number, line in enumerate(lines)
        if line.startswith("    ") and line.strip() in ("datasets:", "cremad-ogm:", "ks-ogm:")
    )
    end = next(number for number in range(start, len(lines)) if lines[number] and not lines[number].startswith("    "))
    block = yaml.safe_load(textwrap.dedent("\n".join(lines[start:end])))
    shown = block.get("datasets", block)
    assert params_of(next(iter(shown.values()))).datasets["d"].modalities.keys() == {"audio", "visual"}


@pytest.mark.parametrize(
    ("kind", "rules"),
    [
        ("cremad", {"actor", "ogm", "stratified"}),
        ("ks", {"lists", "actor", "stratified"}),
        ("mosi", {"column", "actor", "stratified"}),
        ("ucf101", {"lists", "actor", "stratified"}),
        ("table", {"column", "actor", "stratified"}),
    ],
)
def test_a_kind_takes_the_rules_that_fit_it(kind: str, rules: set[str]) -> None:
    split = KINDS[kind].load_settings().model_fields["split"].annotation
    assert split is not None
    assert {rule for rule in ("actor", "ogm", "column", "stratified", "lists") if taken(split, rule)} == rules


def taken(split: type[SplitSettings], rule: str) -> bool:
    try:
        split.read({"rule": rule}, "split")
    except UserError:
        return False
    return True
