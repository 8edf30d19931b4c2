"""Rows of frames."""

from pathlib import Path

import numpy as np
import pytest

import media_files as media
from equimodal.features import frames
from equimodal.features.contract import Segment
from equimodal.features.media import MediaError
from equimodal.settings.features import FramesSettings


def settings(**changes: object) -> FramesSettings:
    return FramesSettings.model_validate({"kind": "frames", "size": [16, 24], **changes})


def numbers(row: np.ndarray | MediaError) -> list[int]:
    assert isinstance(row, np.ndarray)
    return [media.number_in(row[:, step].transpose(1, 2, 0)) for step in range(row.shape[1])]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.flv"])
def test_rows_hold_the_right_frames_of_every_segment(tmp_path: Path, name: str) -> None:
    path = media.write_video(tmp_path / name, codec="flv1" if name.endswith("flv") else "libx264")
    chosen = settings(n=3, margin=2)
    segments = [
        Segment(0, "whole", None, None),
        Segment(1, "word", 0.4, 0.64),
        Segment(2, "late", 1.5, 1.7),
        Segment(3, "out", 2.0, 2.1),
    ]
    rows = frames.extract(path, segments, chosen)
    assert all(row.shape == frames.shape(chosen) == (3, 3, 18, 26) for row in rows[:3])
    assert all(row.dtype == np.uint8 for row in rows[:3])
    assert numbers(rows[0]) == [6, 20, 33]
    assert numbers(rows[1]) == [11, 13, 15]
    assert numbers(rows[2]) == [37, 38, 39]
    assert "no picture between" in str(rows[3])


def test_grey_has_one_channel_and_more_frames_than_there_are_repeat(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "clip.mp4", frames=3)
    (row,) = frames.extract(path, [Segment(0, "a", None, None)], settings(n=6, channels=1))
    assert row.shape == (1, 6, 16, 24)
    assert numbers(row) == [0, 0, 1, 1, 2, 2]


def test_colours_are_in_the_order_red_green_blue(tmp_path: Path) -> None:
    import av

    path = tmp_path / "red.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        red = np.zeros((64, 64, 3), dtype=np.uint8)
        red[..., 0] = 255
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        container.mux(stream.encode(None))
    (row,) = frames.extract(path, [Segment(0, "a", None, None)], settings(n=1))
    assert row[0].mean() > 200
    assert row[1:].mean() < 40
