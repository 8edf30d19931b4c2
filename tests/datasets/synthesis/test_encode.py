"""Media written for samples: no time of writing, no encoder version, the same bytes each time."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from equimodal.datasets.synthesis.encode import to_int16, write_clip, write_wav


def test_int16_is_rounded_and_clipped() -> None:
    assert to_int16(np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [-32767, -32767, 0, 16384, 32767, 32767]


@pytest.mark.parametrize(
    ("name", "codecs", "rate"),
    [
        ("a.flv", ("flv", "libmp3lame"), 22050),
        ("a.avi", ("mpeg4", "libmp3lame"), 16000),
        ("a.mp4", ("libx264", "aac"), 16000),
    ],
)
def test_containers_are_deterministic_and_decode(tmp_path: Path, name: str, codecs: tuple[str, str], rate: int) -> None:
    generator = np.random.default_rng(0)
    frames = np.repeat(generator.integers(0, 255, (1, 32, 48, 3), dtype=np.uint8), 12, axis=0)
    sound = 0.1 * generator.standard_normal(rate)
    for folder in ("one", "two"):
        write_clip(tmp_path / folder / name, frames, Fraction(12), sound, rate, codecs)
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert b"Lavf" not in (tmp_path / "one" / name).read_bytes()
    with av.open(str(tmp_path / "one" / name)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12
    with av.open(str(tmp_path / "one" / name)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) >= rate


def test_wav_is_deterministic(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name, np.linspace(-1, 1, 1000), 16000)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert (tmp_path / "a.wav").stat().st_size == 44 + 2000
