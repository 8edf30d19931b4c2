"""params.yaml's text: repeated keys, anchors and merge keys are refused with their lines."""

from pathlib import Path

import pytest
import yaml

from equimodal.errors import UserError
from equimodal.params import load_params
from equimodal.params.text import read_yaml


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "params.yaml: a is given twice, in lines 1 and 3: keep one"),
        ("a:\n  b:\n    c: 1\n    d: 2\n    'c': 3\n", "params.yaml: a.b.c is given twice, in lines 3 and 5: keep one"),
        ("a: [1, {x: 1, x: 2}]\n", "params.yaml: a.x is given twice, in lines 1 and 1: keep one"),
    ],
)
def test_a_repeated_key_is_refused_with_its_lines(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_yaml(text, "params.yaml")
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "text",
    [
        "a: 'x & y' # &a *a <<\nb: '<<'\n'<<': 1\n",  # words, not marks
        "1: a\n'1': b\n",  # a number and a word
        "",
        "- 1\n- {a: 1}\n",
    ],
)
def test_other_text_gives_what_yaml_says(text: str) -> None:
    assert read_yaml(text, "here") == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("a:\n  b: &b {x: 1}\n", "line 2: the anchor &b"),
        ("a: &a 1\nb: *a\n", "line 1: the anchor &a"),
        ("b: *a\n", "line 1: the alias *a"),
        ("a: 1\nb:\n  <<: {x: 1}\n", "line 3: the merge key <<"),
    ],
)
def test_anchors_aliases_and_merge_keys_are_refused(text: str, mark: str) -> None:
    with pytest.raises(UserError) as caught:
        read_yaml(text, "params.yaml")
    said = f"params.yaml, {mark} is not understood here: name the `base` of a dataset or method, and what differs"
    assert str(caught.value) == said


def test_the_shipped_file_is_read_as_yaml_reads_it(root: Path) -> None:
    text = (root / "params.yaml").read_text()
    assert read_yaml(text, "params.yaml") == yaml.safe_load(text)


def test_loading_refuses_them_in_one_line(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (root / "params.yaml").read_text()
    path.write_text(text.replace("training:  ", "model: {}\ntraining:  ", 1))
    with pytest.raises(UserError, match=r"params\.yaml: model is given twice, in lines \d+ and \d+: keep one"):
        load_params(path)
    path.write_text("a: [\nb: 1")
    with pytest.raises(UserError, match="not valid YAML") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)
