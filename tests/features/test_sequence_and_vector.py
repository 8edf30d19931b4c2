"""Kinds sequence and vector: cut, padded, cleaned, and refused with the right numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from array_files import padded, ragged
from equimodal.features import sequence, vector
from equimodal.features.contract import Place, Row, Segment
from equimodal.features.extract import fill, plan
from equimodal.features.media import MediaError, MissingTrackError
from equimodal.settings.features import SequenceSettings, VectorSettings
from equimodal.store import array_writer


def sequences(**changes: Any) -> SequenceSettings:
    return SequenceSettings(kind="sequence", **{"length": 4, "width": 3, **changes})


def segments(*places: Place) -> list[Segment]:
    return [Segment(row, f"s{row}", None, None, place) for row, place in enumerate(places)]


def rows_of(found: Any) -> list[Row]:
    assert all(isinstance(row, Row) for row in found), found
    return list(found)


def test_shapes_follow_from_the_settings_alone() -> None:
    assert sequence.shape(sequences()) == (4, 3) and sequence.dtype(sequences()) == "float32"
    assert vector.shape(VectorSettings(kind="vector", width=7)) == (7,)


def test_a_long_sequence_keeps_its_start_and_says_how_much_was_cut(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ragged([6], 3)[0])
    [row] = rows_of(sequence.extract(tmp_path / "a.npy", segments(Place()), sequences()))
    np.testing.assert_array_equal(row.values, ragged([6], 3)[0][:4])
    assert (row.cut, row.nonfinite) == (2, 0)


def test_lengths_of_a_padded_file_are_kept(tmp_path: Path) -> None:
    lengths = [2, 4, 1]
    np.save(tmp_path / "a.npy", padded(ragged(lengths, 3), 5))
    places = [Place(row, steps) for row, steps in enumerate(lengths)]
    assert [
        len(row.values) for row in rows_of(sequence.extract(tmp_path / "a.npy", segments(*places), sequences()))
    ] == lengths


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((5, 7)), r"has shape \[5, 7\], a sequence \[steps, 3\] was expected \(set width: 7\)"),
        (np.zeros(3), r"has shape \[3\].*set kind: vector"),
        (np.zeros((2, 2, 3)), r"has shape \[2, 2, 3\]"),
    ],
)
def test_another_shape_is_a_reason_with_the_right_numbers(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "a.npy", array)
    [error] = sequence.extract(tmp_path / "a.npy", segments(Place()), sequences())
    with pytest.raises(MediaError, match=words):
        raise error  # type: ignore[misc]


@pytest.mark.parametrize(
    ("array", "words"), [(np.zeros(5), r"\(set width: 5\)"), (np.zeros((2, 3)), r"\(set kind: sequence\)")]
)
def test_another_vector_is_a_reason_with_the_right_numbers(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "a.npy", array)
    [error] = vector.extract(tmp_path / "a.npy", segments(Place()), VectorSettings(kind="vector", width=3))
    with pytest.raises(MediaError, match=words):
        raise error  # type: ignore[misc]


def test_an_empty_sequence_counts_as_missing(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((0, 3)))
    [error] = sequence.extract(tmp_path / "a.npy", segments(Place()), sequences())
    assert isinstance(error, MissingTrackError)


def test_infinite_numbers_are_refused_or_set_to_zero(tmp_path: Path) -> None:
    values = np.ones((3, 4))
    values[0, 1], values[2, 3], values[2, 0] = -np.inf, np.nan, 1e300  # the last one is infinite in float32
    np.save(tmp_path / "a.npy", values)
    refused, fine, worse = vector.extract(
        tmp_path / "a.npy", segments(Place(0), Place(1), Place(2)), VectorSettings(kind="vector", width=4)
    )
    assert isinstance(fine, Row)
    with pytest.raises(MediaError, match=r"1 of 4 numbers are NaN or infinite \(first at \[1\]\): set nonfinite: zero"):
        raise refused  # type: ignore[misc]
    assert isinstance(worse, MediaError)
    kept = rows_of(
        vector.extract(
            tmp_path / "a.npy", segments(Place(0), Place(2)), VectorSettings(kind="vector", width=4, nonfinite="zero")
        )
    )
    assert [row.values.tolist() for row in kept] == [[1, 0, 1, 1], [0, 1, 1, 0]]
    assert [row.nonfinite for row in kept] == [1, 2]


def test_a_stacked_file_is_opened_once_a_job_and_fills_the_array(tmp_path: Path) -> None:
    lengths = [2, 5, 3, 1]
    np.save(tmp_path / "a.npy", padded(ragged(lengths, 3), 6))
    samples = [
        {"id": f"s{row}", "paths": {"text": f"a.npy#{row}:{steps}"}, "start": None, "end": None}
        for row, steps in reversed(list(enumerate(lengths)))
    ]
    samples.append({"id": "none", "paths": {"text": None}, "start": None, "end": None})
    jobs, _ = plan(samples, "text", tmp_path, 48, arrays=True)
    assert [segment.place.row for segment in jobs[0].segments] == [0, 1, 2, 3] and len(jobs) == 1
    with array_writer(tmp_path / "out.npy", (5, 4, 3), "float32") as array:
        done = fill(array, samples, "text", tmp_path, sequences(), workers=1)
    out = np.load(tmp_path / "out.npy")
    np.testing.assert_array_equal(out[:4], padded(ragged(lengths, 3), 4)[::-1])
    assert not out[4].any() and [failure.id for failure in done.failures] == ["none"]
    assert [(fact.row, fact.length, fact.cut) for fact in done.facts] == [(0, 1, 0), (1, 3, 0), (2, 4, 1), (3, 2, 0)]
