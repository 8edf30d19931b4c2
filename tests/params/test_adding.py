"""A further dataset in params.yaml: the rest of the text stays as it is."""

from pathlib import Path

import pytest
import yaml

from equimodal.errors import UserError
from equimodal.params.adding import with_dataset

TEXT = """# head
study: {datasets: [a]}

datasets:   # all of them
  a:
    kind: table   # why
    root: x

  # of b
  b: {kind: table, root: y}

# what follows
methods: {}
"""
ENTRY = {
    "kind": "table",
    "columns": {"path": None, "label": "y: z"},
    "modalities": {"audio": {"size": [1, 2]}, "text": {}},
}


def test_the_entry_comes_last_in_its_section_and_all_other_lines_stay() -> None:
    new = with_dataset(TEXT, "c", ENTRY, "why")
    assert [line for line in new.splitlines() if line not in TEXT.splitlines()] == [
        "  c:  # why",
        "    kind: table",
        "    columns: {path: null, label: 'y: z'}",
        "    modalities:",
        "      audio: {size: [1, 2]}",
        "      text: {}",
    ]
    assert new.index("  b: {") < new.index("  c:") < new.index("# what follows")
    found = yaml.safe_load(new)
    assert found["datasets"] == {**yaml.safe_load(TEXT)["datasets"], "c": ENTRY}
    assert yaml.safe_load(with_dataset(new, "d", ENTRY, "why"))["datasets"]["d"] == ENTRY


@pytest.mark.parametrize(
    "text", [TEXT[: TEXT.index("# what")], TEXT[: TEXT.index("\n\n# what")], TEXT.replace("  ", "    ")]
)
def test_it_may_be_the_last_section_without_a_line_end_or_indented_otherwise(text: str) -> None:
    assert yaml.safe_load(with_dataset(text, "c", ENTRY, "why"))["datasets"]["c"] == ENTRY


def test_the_shipped_file_takes_one(root: Path) -> None:
    text = (root / "params.yaml").read_text()
    new = with_dataset(text, "mine", ENTRY, "why")
    assert yaml.safe_load(new) == {
        **yaml.safe_load(text),
        "datasets": {**yaml.safe_load(text)["datasets"], "mine": ENTRY},
    }
    assert set(text.splitlines()) <= set(new.splitlines())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT, "has a dataset 'b' already"),
        ("study: {}\n", "has no section `datasets`"),
        ("datasets: {}\n", "has no section `datasets`"),
        ("datasets: {a: {kind: table}}\n", "has no section `datasets`"),
        ("[]", "has no section `datasets`"),
        ("", "has no section `datasets`"),
    ],
)
def test_what_cannot_take_one_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        with_dataset(text, "b", ENTRY, "why")
