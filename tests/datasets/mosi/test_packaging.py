"""The public packagings of CMU-MOSI in small: both dialects, their lengths, and the line that each mistake gets."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equimodal.datasets.mosi.packaging import Packaging, read_packaging
from equimodal.errors import UserError

WIDTHS = {"text": 6, "audio": 4, "vision": 5}
COUNTS = {"train": 5, "valid": 2, "test": 3}


def in_front(lengths: list[int], steps: int, width: int, seed: int) -> np.ndarray:
    """[n, steps, width] with zeros before each sequence."""
    array = np.zeros((len(lengths), steps, width))
    for row, length in enumerate(lengths):
        array[row, steps - length :] = np.random.default_rng([seed, row]).normal(size=(length, width))
    return array


def aligned(**changes: Any) -> dict[str, Any]:
    """As mosi_data.pkl: 7 steps, padded in front, labels [n, 1, 1]; the first sequence of each split has 3 words."""
    content = {}
    for number, (split, count) in enumerate(COUNTS.items()):
        lengths = [3, 7, 1, 5, 2][:count]
        content[split] = {name: in_front(lengths, 7, width, number) for name, width in WIDTHS.items()}
        content[split]["labels"] = np.linspace(-3, 3, count).reshape(count, 1, 1)
        content[split]["id"] = np.array([f"vid-{split}_x[{row}]" for row in range(count)], dtype=object)
        content[split].update(changes if split == "train" else {})
    return content


def unaligned() -> dict[str, Any]:
    """As unaligned_50.pkl: other steps per modality, padded behind, stated lengths."""
    content = {}
    for count, split in zip(COUNTS.values(), COUNTS, strict=True):
        fields: dict[str, Any] = {
            name: np.ones((count, steps, WIDTHS[name]), np.float32)
            for name, steps in (("text", 4), ("audio", 9), ("vision", 6))
        }
        fields["text_bert"] = np.ones((count, 3, 4), np.float32)
        fields["text_bert"][0, 1, 2:] = 0
        fields["audio_lengths"], fields["vision_lengths"] = [9 - row for row in range(count)], [2] * count
        fields["regression_labels"], fields["classification_labels"] = np.zeros(count, np.float32), np.zeros(count)
        fields["id"], fields["raw_text"] = [f"_dI--{split}$_${row}" for row in range(count)], ["words"] * count
        content[split] = fields
    return content


def read(folder: Path, content: Any) -> Packaging:
    (folder / "mosi.pkl").write_bytes(pickle.dumps(content, 2))
    return read_packaging(folder / "mosi.pkl", "datasets.mosi.raw")


def test_the_aligned_dialect_is_moved_to_the_front(tmp_path: Path) -> None:
    content = aligned()
    content["train"]["audio"][0, -3:] = 0  # a silent voice keeps the words' steps
    found = read(tmp_path, content)
    assert found.splits == ["train"] * 5 + ["val"] * 2 + ["test"] * 3
    assert found.ids[:2] == ["vid-train_x[0]", "vid-train_x[1]"] and found.videos[0] == "vid-train_x"
    assert found.labels[:3] == [-3.0, -1.5, 0.0]
    for name, width in WIDTHS.items():
        assert found.arrays[name].shape == (10, 7, width) and found.arrays[name].dtype == np.float32
        assert found.lengths[name].tolist() == [3, 7, 1, 5, 2, 3, 7, 3, 7, 1]
    np.testing.assert_array_equal(found.arrays["text"][0, :3], content["train"]["text"][0, 4:].astype(np.float32))
    assert not found.arrays["text"][0, 3:].any() and not found.arrays["audio"][0].any()


def test_the_unaligned_dialect_states_its_lengths(tmp_path: Path) -> None:
    found = read(tmp_path, unaligned())
    assert found.lengths["text"].tolist()[:5] == [2, 4, 4, 4, 4]
    assert found.lengths["audio"].tolist()[:5] == [9, 8, 7, 6, 5] and set(found.lengths["vision"]) == {2}
    assert not found.arrays["audio"][1, 8:].any() and found.arrays["audio"][1, :8].all()
    assert (found.ids[0], found.videos[0]) == ("_dI--train[0]", "_dI--train")


def test_names_of_splits_may_be_bytes(tmp_path: Path) -> None:
    content = {name.encode(): fields for name, fields in aligned().items()}
    assert read(tmp_path, content).ids == read(tmp_path, aligned()).ids


def test_empty_text_has_length_zero(tmp_path: Path) -> None:
    content = aligned()
    content["train"]["text"][2] = 0
    assert read(tmp_path, content).lengths["text"].tolist()[2] == 0


@pytest.mark.parametrize(
    ("ids", "names", "video"),
    [
        (None, None, None),
        ([(b"vid", str(row), "9") for row in range(5)], "vid@0", "vid"),
        ([f"a_b_{row}" for row in range(5)], "a_b[0]", "a_b"),
        ([b"plain%d" % row for row in range(5)], "plain0", None),
    ],
)
def test_names_of_segments(tmp_path: Path, ids: Any, names: str | None, video: str | None) -> None:
    content = aligned(id=ids)
    found = read(tmp_path, content)
    assert (found.ids[0], found.videos[0]) == ((names, video) if names else ("train-0000", None))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"audio": np.zeros((4, 7, 4))},
            r"mosi.pkl: train: sequences of unequal batch: text has 5 rows, audio has 4 rows, vision has 5"
            r" rows, labels has 5",
        ),
        ({"id": ["a"]}, r"unequal batch.*id has 1 rows"),
        (
            {"labels": np.array([0, 1, 2, 3.5, 1])},
            r"labels out of range: 3.5 \(segment vid-train_x\[3\]\) is not in \[-3, 3\]",
        ),
        ({"labels": np.array([0, 1, np.nan, 3, 1])}, r"labels out of range: nan"),
        ({"labels": np.zeros((5, 2))}, r"one number per sample is needed"),
        ({"labels": None}, r"train: sequences of unequal batch.*labels has 0 rows"),
        ({"text": np.zeros((5, 6))}, r"text is float64 \[5, 6\]: numbers \[samples, steps, width\]"),
        ({"text": np.zeros((5, 7, 9))}, r"text has another shape in each split: \[7, 6\], \[7, 9\]"),
        ({"audio_lengths": [1.0, 2.0, np.nan, 1.0, 2.0]}, r"audio_lengths are not whole numbers between 0 and the 7"),
        ({"audio_lengths": [1.5] * 5}, r"audio_lengths are not whole numbers between 0 and the 7"),
        ({"vision_lengths": np.ones((5, 2))}, r"vision_lengths is float64 \[5, 2\]: one number per sample"),
        ({"vision_lengths": 3}, r"vision_lengths is a int: one for each sample is needed"),
        ({"vision_lengths": [[1], [1, 2], [], [], []]}, r"vision_lengths has parts of different sizes"),
        ({"text": [[[0.0] * 6] * 7] * 4 + [[[0.0] * 6]]}, r"train: text has parts of different sizes: one array"),
        ({"audio": np.zeros((5, 0, 4))}, r"train: audio is \[5, 0, 4\]: it holds nothing"),
        ({"audio": np.zeros((5, 7, 0))}, r"train: audio is \[5, 7, 0\]: it holds nothing"),
        ({"id": [1, 2, 3, 4, 5]}, r"train: the id of row 0 is '1': text is needed"),
        ({"id": [{}, 2, 3, 4, 5]}, r"train: the id of row 0 is '\{\}': text is needed"),
        ({"id": ["a", [], "c", "d", "e"]}, r"train: the id of row 1 is '\[\]': text is needed"),
        ({"id": [["a", [1]], "b", "c", "d", "e"]}, r"train: id has parts of different sizes"),
        ({"id": np.array("a")}, r"train: id is a ndarray: one for each sample is needed"),
        ({"audio_lengths": [8] * 5}, r"audio_lengths are not whole numbers between 0 and the 7 steps"),
        ({"id": ["vid-test_x[0]", "b", "c", "d", "e"]}, r"1 ids come twice \(first: vid-test_x\[0\]\)"),
    ],
)
def test_each_mistake_gets_its_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        read(tmp_path, aligned(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], r"no packaging of CMU-MOSI: it holds a list"),
        ({"train": {}, "test": {}}, r"it holds train, test, not the splits train, valid and test"),
        ({**aligned(), "valid": {"text": 1}}, r"valid has no text, audio and vision: it holds text"),
        (
            {**aligned(), "valid": {name: np.zeros((2, 7, width)) for name, width in WIDTHS.items()}},
            r"neither labels nor regression_labels",
        ),
    ],
)
def test_another_pickle_is_refused(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(tmp_path, content)
