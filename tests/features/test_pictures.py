"""Which moments are taken, and how a picture is cropped."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from equimodal.features.contract import Segment
from equimodal.features.media import MediaError, Track
from equimodal.features.pictures import moments, shrinker
from equimodal.features.video import Video
from equimodal.settings.features import FramesSettings

NONE = Track(*(np.zeros(0) for _ in range(5)), unit=1.0, reach=0.0)


def video(seconds: float = 3.0) -> Video:
    return Video(Path("clip"), np.arange(0, seconds, 0.04), seconds, NONE)


def settings(**changes: object) -> FramesSettings:
    return FramesSettings.model_validate({"kind": "frames", "size": [16, 24], **changes})


def test_n_moments_are_the_centres_of_equal_parts() -> None:
    assert moments(Segment(0, "a", None, None), video(), settings(n=3)) == pytest.approx([0.5, 1.5, 2.5])
    assert moments(Segment(0, "a", 1.0, 2.0), video(), settings(n=2)) == pytest.approx([1.25, 1.75])


def test_before_and_after_widen_a_segment_within_the_clip() -> None:
    assert moments(Segment(0, "a", 1.0, 1.2), video(), settings(n=1, before=0.04, after=0.24)) == pytest.approx([1.2])
    assert moments(Segment(0, "a", 0.0, 2.9), video(), settings(n=1, before=1.0, after=1.0)) == pytest.approx([1.5])


def test_fps_repeats_the_last_moment_of_a_short_sample_and_spreads_over_a_long_one() -> None:
    by_rate = settings(n=None, fps=1.0, n_max=5)
    assert moments(Segment(0, "a", None, None), video(), by_rate) == pytest.approx([0.5, 1.5, 2.5, 2.5, 2.5])
    assert moments(Segment(0, "a", None, None), video(10.0), by_rate) == pytest.approx([1.5, 3.5, 5.5, 7.5, 9.5])
    assert moments(Segment(0, "a", 0.0, 0.1), video(), settings(n=None, fps=1.0, n_max=2)) == pytest.approx([0.1, 0.1])


def test_a_sample_outside_the_video_is_refused() -> None:
    with pytest.raises(
        MediaError, match=r"no picture between 3\.50 and 4\.00 s \(the video lasts from 0\.00 to 3\.00 s\)"
    ):
        moments(Segment(0, "a", 3.5, 4.0), video(), settings(n=3))


def test_crop_is_in_fractions_and_the_stored_size_has_the_margin() -> None:
    picture = np.zeros((100, 200), dtype=np.uint8)
    picture[60:90, 20:110] = 200
    shrink = shrinker(settings(crop=[0.1, 0.6, 0.55, 0.9], margin=4, channels=1))
    assert shrink(picture).shape == (20, 28)
    assert (shrink(picture) == 200).all()
    assert shrink(np.zeros((1, 1, 3), dtype=np.uint8)).shape == (20, 28, 3)


def test_shrinking_averages_areas() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 48), dtype=np.uint8)
    expected = picture.reshape(16, 2, 24, 2).mean(axis=(1, 3))
    assert np.abs(shrinker(settings(channels=1))(picture) - expected).max() <= 1


def test_the_frames_that_a_model_picks_are_a_setting_only_where_it_is_given() -> None:
    assert "pick" not in settings(n=3).slice()  # features made before there was the choice keep their settings
    assert settings(n=10, pick=3).slice()["pick"] == 3
    with pytest.raises(ValidationError, match=r"pick \(4\) must not exceed the 3 frames stored"):
        settings(n=3, pick=4)
