"""params.yaml's text: repeated keys are refused with their lines, anchors and merge keys work as YAML says."""

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
        ("a: &a {x: 1}\nb: {<<: *a, y: 1, y: 2}\n", "params.yaml: b.y is given twice, in lines 2 and 2: keep one"),
    ],
)
def test_a_repeated_key_is_refused_with_its_lines(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_yaml(text, "params.yaml")
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, y: 4}\nd: *b\n",
        "a: &a {x: 1}\nb: &b {y: 1}\nc: {<<: [*a, *b], x: 2}\n",
        "1: a\n'1': b\n",  # a number and a word
        "",
        "- 1\n- {a: 1}\n",
    ],
)
def test_anchors_and_merge_keys_give_what_yaml_says(text: str) -> None:
    assert read_yaml(text, "here") == yaml.safe_load(text)


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
