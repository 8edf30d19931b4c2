"""params.yaml's text: repeated keys, anchors and merge keys are refused with their lines."""

import time
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
        ("a: [1, {x: 1, x: 2}]\n", "params.yaml: a.1.x is given twice, in lines 1 and 1: keep one"),
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
        "a: [1, -2, 0.5, 1.0e-3, true, no, off, ~, null, '1', \"on\", x y, 1x]\nb:\nc: ''\n",
        "",
        "- 1\n- {a: 1}\n",
        "a: |-\n  folded\n",
    ],
)
def test_other_text_gives_what_yaml_says(text: str) -> None:
    assert read_yaml(text, "here") == yaml.safe_load(text)


def test_words_and_numbers_are_those_of_yaml_1_2_and_keys_are_words() -> None:
    text = "{1e-3: 1e-3, on: 2e5, 1: 012, ~: 0_1, a: 1_000, b: 0x1F, c: 1:30, d: 2026-11-30, e: 2026-99-99, f: ²}"
    assert read_yaml(text, "here") == {
        "1e-3": 1e-3,
        "on": 2e5,
        "1": "012",
        "~": "0_1",
        "a": "1_000",
        "b": "0x1F",
        "c": "1:30",
        "d": "2026-11-30",
        "e": "2026-99-99",
        "f": "²",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {b: [1, .inf]}\n", "here: a.b.1 = .inf: should be a finite number"),
        ("a: -.Inf\n", "here: a = -.Inf: should be a finite number"),
        ("a:\n- {b: .NaN}\n", "here: a.0.b = .NaN: should be a finite number"),
        ("a: 1e999\n", "here: a = 1e999: should be a finite number"),
        (f"a: {10**18}\n", "here: a = 1000000000000000000: at most 18 digits can be of use"),
        (f"a: {'7' * 4000}\n", "here: a = " + "7" * 57 + "...: at most 18 digits can be of use"),
        (f"a: {'7' * 5000}\n", "here: a has 5,000 characters: at most 4,096 can be of use"),
        ("a:\n  b: !!int x\n", "here, line 2: the tag tag:yaml.org,2002:int is not understood here: leave it out"),
        ("a: !!python/object:os.system x", "here, line 1: the tag tag:yaml.org,2002:python/object:os.system is not"),
        ("a: ! [1]\n", "here, line 1: the tag ! is not understood here: leave it out"),
        ("1: a\n'1': b\n", "here: 1 is given twice, in lines 1 and 2: keep one"),
        ("? [a, b]\n: c\n", "here, line 1: a key must be a word"),
        ("? {a: b}\n: c\n", "here, line 1: a key must be a word"),
        ('"a\\nb": 1\n', "here, line 1: 'a\\nb' cannot be a key"),
        (f"? {'k' * 200}\n: 1\n", "here, line 1: " + "k" * 57 + "... cannot be a key"),
        ('a: "x\\ny"\n', "here: a has the character '\\n', which cannot be printed"),
        ('a: ["\\0"]\n', "here: a.0 has the character '\\x00', which cannot be printed"),
        ("a: 1\n---\nb: 1\n", "here, line 2: a second document (---) in one file"),
        ("a: [\nb: 1\n", "here, line 3 is not valid YAML: while parsing a flow sequence, did not find expected"),
        ("a: \x07", "here is not valid YAML: control characters are not allowed"),
        ("[" * 1000, "here, line 1: more than 20 sections and lists in each other"),
        ("{a: " * 30_000, "here, line 1: more than 20 sections and lists in each other"),
        ("- " * 30_000, "here, line 1: more than 20 sections and lists in each other"),
        ("a: 1\n" * 100_000, "here has more than 262,144 characters, far beyond any settings: is this the right file?"),
        (
            "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
            "here, line 1: the anchor &a is not understood here: name the `base`",
        ),
    ],
)
def test_what_no_setting_can_be_is_refused_at_once(text: str, said: str) -> None:
    start = time.process_time()
    with pytest.raises(UserError) as caught:
        read_yaml(text, "here")
    assert str(caught.value).startswith(said)
    assert time.process_time() - start < 0.5


def test_depth_and_size_up_to_the_limit_are_read() -> None:
    assert read_yaml("[" * 20 + "]" * 20, "here") == yaml.safe_load("[" * 20 + "]" * 20)
    values = read_yaml("[" + "1," * 100_000 + "]", "here")
    assert len(values) == 100_000


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
