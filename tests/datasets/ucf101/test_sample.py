"""The generated UCF-101: its names, codec and lists, the same bytes each time, colours and motion of the class."""

from pathlib import Path

import av
import numpy as np
import pytest

from equimodal.datasets.ucf101 import sample as made
from equimodal.datasets.ucf101.lists import read_lists
from equimodal.datasets.ucf101.settings import Ucf101Sample
from equimodal.features.flow import estimator

SMALL = Ucf101Sample(classes=4, groups=10, clips_per_group=2, seconds=0.4, size=(48, 64))


def test_a_clip_has_ucf101s_name_and_codec(tmp_path: Path) -> None:
    clip = made.Clip("SkyDiving", 3, 2)
    made.write(clip, SMALL, tmp_path)
    with av.open(str(tmp_path / "SkyDiving" / "v_SkyDiving_g03_c02.avi")) as container:
        (stream,) = container.streams
        assert (container.format.name, stream.codec_context.name, stream.codec_context.codec_tag) == (
            "avi",
            "mpeg4",
            "XVID",
        )
        assert (stream.average_rate, stream.height, stream.width) == (25, 48, 64)
        assert 8 <= len(list(container.decode(video=0))) <= 10


@pytest.mark.parametrize("number", [1, 2, 3])
def test_lists_have_the_real_format_and_keep_groups_apart(tmp_path: Path, number: int) -> None:
    for name, text in made.list_files(SMALL).items():
        (tmp_path / name).write_text(text)
    lists = read_lists(str(tmp_path), number, "key")
    assert lists.classes == tuple(made.classes(SMALL)) == tuple(sorted(lists.classes))
    assert {part: len(clips) for part, clips in lists.parts.items()} == {"train": 4 * 7 * 2, "test": 4 * 3 * 2}
    assert {int(stem[-6:-4]) for stem in lists.parts["test"]} == {3 * number - 2, 3 * number - 1, 3 * number}
    assert {int(stem[-6:-4]) for stem in lists.parts["train"]} == set(range(1, 11)) - {
        3 * number - 2,
        3 * number - 1,
        3 * number,
    }


def test_bytes_depend_on_seed_and_clip_only(tmp_path: Path) -> None:
    one, two = made.clips(SMALL)[:2]
    larger = SMALL.model_copy(update={"groups": 12, "clips_per_group": 3})
    for folder, order, settings in (
        ("a", (one, two), SMALL),
        ("b", (two, one), larger),
        ("c", (one,), SMALL.model_copy(update={"seed": 1})),
    ):
        for clip in order:
            made.write(clip, settings, tmp_path / folder)
    for clip in (one, two):
        assert (tmp_path / "a" / clip.path).read_bytes() == (tmp_path / "b" / clip.path).read_bytes()
    assert (tmp_path / "a" / one.path).read_bytes() != (tmp_path / "c" / one.path).read_bytes()


MOTION = {  # mean of u and v at right, left, top and bottom of the window: signs, 0 for whatever
    "PullUps": ("v", -1, -1, -1, -1),
    "CliffDiving": ("v", 1, 1, 1, 1),
    "SkyDiving": ("out", 1, 1, 1, 1),
    "Skiing": ("out", -1, -1, -1, -1),
}


@pytest.mark.parametrize("action", MOTION)
def test_flow_shows_the_motion_of_the_class(action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "STILL", 0.0)
    monkeypatch.setattr(made, "STRENGTH", (1.0, 1.0))
    settings = SMALL.model_copy(update={"size": (64, 80)})
    what, *signs = MOTION[action]
    flows = []
    for number in range(1, 4):
        frames = made.film(made.Clip(action, number, 1), settings)
        grey = frames[4:6].mean(axis=3).astype(np.uint8)
        flows.append(estimator("dis-medium")(*grey))
    u, v = np.mean(flows, axis=0).transpose(2, 0, 1)
    y, x = (axis - np.array([32, 40])[number] for number, axis in enumerate(np.mgrid[:64, :80]))
    ring = (np.hypot(x, y) > 5) & (np.hypot(x, y) < 16)
    u, v = u - (what == "out") * u[ring].mean(), v - (what == "out") * v[ring].mean()  # the camera pans
    outward = (u * x + v * y) / np.hypot(x, y).clip(1)
    for place, sign in zip((x > abs(y), -x > abs(y), -y > abs(x), y > abs(x)), signs, strict=True):
        assert sign * (v if what == "v" else outward)[ring & place].mean() > 0.1


def test_one_frame_says_nothing_of_the_motion_and_the_still_clips_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "STILL", 1.0)
    monkeypatch.setattr(made, "COLOURLESS", 1.0)
    frames = made.film(made.Clip("PullUps", 1, 1), SMALL)
    assert np.abs(frames.astype(int) - frames.mean(axis=3, keepdims=True)).max() < 2  # colourless
    flow = estimator("dis-medium")(*frames[4:6].mean(axis=3).astype(np.uint8))
    assert np.median(np.hypot(*flow.transpose(2, 0, 1))) < 0.5
