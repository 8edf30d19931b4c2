"""Optical flow: known motion, its bytes, refusals."""

from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

import media_files as media
from equimodal.errors import UserError
from equimodal.features import flow
from equimodal.features.contract import Segment
from equimodal.features.media import MediaError
from equimodal.settings.features import FlowSettings

WHOLE = Segment(0, "whole", None, None)


def settings(**changes: object) -> FlowSettings:
    return FlowSettings.model_validate({"kind": "flow", "size": [64, 96], "n": 3, "bound": 8.0, **changes})


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A blurred texture that moves 2 px right and 1 px up a frame."""
    import cv2

    texture = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (160, 200)), (0, 0), 2.5)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    path = tmp_path_factory.mktemp("flow") / "moving.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for step in range(16):
            part = texture[20 + step : 84 + step, 60 - 2 * step : 156 - 2 * step]
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.repeat(part[..., None], 3, axis=2), format="rgb24"))
            )
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("algorithm", ["dis-fast", "dis-medium", "farneback"])
def test_known_motion_is_found(moving: Path, algorithm: str) -> None:
    chosen = settings(algorithm=algorithm)
    (row,) = flow.extract(moving, [WHOLE], chosen)
    assert row.shape == flow.shape(chosen) == (2, 3, 64, 96)
    assert row.dtype == np.uint8
    u, v = flow.decode(row, chosen.bound)[:, :, 12:-12, 12:-12]
    assert np.median(u) == pytest.approx(2.0, abs=0.2)
    assert np.median(v) == pytest.approx(-1.0, abs=0.2)


def test_motion_is_measured_in_px_of_the_stored_picture(moving: Path) -> None:
    (row,) = flow.extract(moving, [WHOLE], settings(size=[32, 48]))
    assert np.median(flow.decode(row, 8.0)[0][:, 6:-6, 6:-6]) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("scale", [1, 2])
def test_motion_may_be_measured_in_px_of_a_larger_picture(moving: Path, scale: int) -> None:
    chosen = settings(size=[32, 48], compute_size=[64 * scale, 96 * scale])
    (row,) = flow.extract(moving, [WHOLE], chosen)
    assert row.shape == (2, 3, 32, 48)
    u, v = flow.decode(row, 8.0)[:, :, 6:-6, 6:-6]
    assert np.median(u) == pytest.approx(2.0 * scale, abs=0.25 * scale)
    assert np.median(v) == pytest.approx(-1.0 * scale, abs=0.25 * scale)
    assert flow.notes(chosen)["px_of"] == [64 * scale, 96 * scale] and flow.notes(settings(size=[32, 48], margin=4))[
        "px_of"
    ] == [36, 52]


def test_a_wild_value_is_clipped_before_it_is_shrunk() -> None:
    wild = np.zeros((64, 96, 2), dtype=np.float32)
    wild[0, 0] = 1e6
    stored = flow._stored(wild, settings(size=[32, 48]))
    assert stored[0, 0, 0] == flow.encode(np.float32(2.0), 8.0) and stored[0, 1:].max() == flow.ZERO


def test_pairs_read_in_several_goes_are_the_same(moving: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = flow.extract(moving, [WHOLE], settings(n=6, algorithm="dis-fast"))
    monkeypatch.setattr(flow, "HELD", 2 * 2 * 64 * 96)
    (pieces,) = flow.extract(moving, [WHOLE], settings(n=6, algorithm="dis-fast"))
    assert np.array_equal(whole, pieces)


def test_three_channels_repeat_u(moving: Path) -> None:
    (row,) = flow.extract(moving, [WHOLE], settings(channels=3, algorithm="dis-fast"))
    assert row.shape[0] == 3
    assert np.array_equal(row[0], row[2])
    assert not np.array_equal(row[0], row[1])


def test_bytes_invert_with_zero_and_sign_kept_exactly() -> None:
    values = np.array([0.0, 1.0, -1.0, 7.99, -50.0, 50.0], dtype=np.float32)
    stored = flow.encode(values, 8.0)
    assert stored[0] == flow.ZERO
    assert int(stored[1]) + int(stored[2]) == 256
    assert (stored[4], stored[5]) == (1, 255)
    np.testing.assert_allclose(flow.decode(stored, 8.0), np.clip(values, -8, 8), atol=8 / 254 + 1e-6)
    notes = flow.notes(settings())
    np.testing.assert_allclose(
        (stored.astype(float) - notes["zero"]) * notes["px_per_level"], flow.decode(stored, 8.0), rtol=1e-6
    )


def test_a_clip_of_one_frame_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="one frame; flow needs two"):
        flow.extract(media.write_video(tmp_path / "clip.mp4", frames=1), [WHOLE], settings())


def test_the_last_frame_is_paired_with_the_one_before(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "clip.mp4", frames=2)
    (row,) = flow.extract(path, [Segment(0, "end", 0.05, 0.08)], settings(algorithm="dis-fast"))
    assert isinstance(row, np.ndarray)


def test_tvl1_without_contrib_names_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.delattr(cv2, "optflow", raising=False)
    with pytest.raises(UserError, match="opencv-contrib-python-headless"):
        flow.estimator("tvl1")
    assert callable(flow.estimator("dis-medium"))  # the others do not ask for it


def test_tvl1_is_asked_of_the_contrib_build(moving: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    class Dual:
        def calc(self, one: np.ndarray, two: np.ndarray, start: None) -> np.ndarray:
            assert one.shape == two.shape == (64, 96) and one.dtype == np.uint8
            return np.full((*one.shape, 2), (2.0, -1.0), dtype=np.float32)

    monkeypatch.setattr(cv2, "optflow", SimpleNamespace(DualTVL1OpticalFlow_create=Dual), raising=False)
    chosen = settings(algorithm="tvl1")
    (row,) = flow.extract(moving, [WHOLE], chosen)
    u, v = flow.decode(row, chosen.bound)
    np.testing.assert_allclose(u, 2.0, atol=8 / 254)
    np.testing.assert_allclose(v, -1.0, atol=8 / 254)


def test_a_picture_too_small_for_the_algorithm_is_refused_by_its_settings() -> None:
    with pytest.raises(ValueError, match="at least 12 px"):
        settings(size=[8, 96])
    assert settings(size=[8, 96], algorithm="farneback").size == (8, 96)
    assert flow.estimator("dis-medium")(*np.zeros((2, 12, 12), dtype=np.uint8)).shape == (12, 12, 2)
    assert settings(size=[8, 96], compute_size=[64, 96]).compute_size == (64, 96)
    with pytest.raises(ValueError, match="at least 12 px"):
        settings(compute_size=[8, 96])


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("compute_size", [None, [64, 96]])
def test_training_mirrors_a_row_into_that_of_the_mirrored_clip(
    moving: Path, tmp_path: Path, channels: int, compute_size: list[int] | None
) -> None:
    """From file to model input: the flip that training draws gives what the features stage gives for the clip filmed
    in a mirror.
    """
    import torch

    from equimodal.settings.training import AugmentSettings
    from equimodal.training.transforms import InputTransform

    mirror = tmp_path / "mirror.mp4"
    with av.open(str(moving)) as source, av.open(str(mirror), "w") as target:
        stream = target.add_stream("libx264", rate=25, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for frame in source.decode(video=0):
            target.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(
                        np.ascontiguousarray(frame.to_ndarray(format="rgb24")[:, ::-1]), format="rgb24"
                    )
                )
            )
        target.mux(stream.encode(None))
    chosen = settings(size=[32, 48], channels=channels, compute_size=compute_size)
    rows = [flow.extract(path, [WHOLE], chosen)[0] for path in (moving, mirror)]
    entry = {
        "kind": "flow",
        "notes": flow.notes(chosen),
        "settings": chosen.slice(),
        "shape": list(rows[0].shape),
        "mean": [128.0] * channels,
    }
    transform = InputTransform({**entry, "std": [255 / 2] * channels}, torch.device("cpu"))
    plain, mirrored = (torch.from_numpy(row)[None] for row in rows)
    flipped = transform.augment(plain, torch.tensor([True]), torch.Generator(), AugmentSettings(crop=False, flip=True))
    apart = (flipped - transform.evaluate(mirrored)).abs()[..., 6:-6, 6:-6]
    moved = (transform.evaluate(plain) - transform.evaluate(mirrored)).abs()[..., 6:-6, 6:-6]
    assert apart.median() < 0.02 and moved[:, 0].median() > 0.2  # u changes its sign, so unflipped rows lie far apart
