"""Small media files whose every frame shows its own number, so that a test can tell which frames were read."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile

HEIGHT, WIDTH, BITS = 64, 96, 6


def numbered(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A picture [H, W, 3] with `number` as six black or white bars, the lowest bit left."""
    bars = np.array([255 * (number >> bit & 1) for bit in range(BITS)], dtype=np.uint8)
    return np.repeat(np.tile(np.repeat(bars, width // BITS), (height, 1))[..., None], 3, axis=2)


def number_in(picture: np.ndarray) -> int:
    """The number that a picture [H, W(, 3)] shows, at any size."""
    grey = picture if picture.ndim == 2 else picture.mean(axis=2)
    bars = np.array_split(grey, BITS, axis=1)
    return sum((bar[bar.shape[0] // 4 : -bar.shape[0] // 4].mean() > 127) << bit for bit, bar in enumerate(bars))


def write_video(
    path: Path,
    codec: str = "libx264",
    frames: int = 40,
    rate: int = 25,
    gop: int = 12,
    b_frames: int = 0,
    times: Sequence[int] | None = None,
    audio: str | None = None,
    seconds: float | None = None,
) -> Path:
    """A clip of numbered frames. `times`: time stamps in 1/1000 s instead of a steady rate; `audio`: codec of a 440 Hz
    tone of `seconds`.
    """
    import av

    # The index of an mp4 at its front, as the web has them: cut off, it still opens.
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", gop
        stream.codec_context.max_b_frames = b_frames
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        sound = None
        if audio is not None:
            sound = container.add_stream(audio, rate=48000 if audio == "libopus" else 22050, layout="mono")
        packets = []
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        if sound is not None:
            tone = (
                0.3 * np.sin(2 * np.pi * 440 * np.arange(round((seconds or frames / rate) * 22050)) / 22050)
            ).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 22050, 0
            resampler = av.AudioResampler(
                format=sound.format.name,
                layout=sound.layout.name,
                rate=sound.rate,
                frame_size=sound.codec_context.frame_size or 1024,
            )
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                packets += sound.encode(piece)
            packets += sound.encode(None)
        packets.sort(key=lambda packet: float((packet.dts or 0) * packet.time_base))
        for packet in packets:
            container.mux(packet)
    return path


def write_wave(path: Path, samples: np.ndarray, rate: int = 16000, subtype: str = "PCM_16") -> Path:
    """A wav file of samples [n] or [n, channels]."""
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def tone(seconds: float, rate: int = 16000, frequency: float = 440.0) -> np.ndarray:
    """A sine of half amplitude, float32 [n]."""
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def cut(path: Path, share: float) -> Path:
    """Keep the first `share` of a file's bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def cut_before(path: Path, packet: int) -> Path:
    """Cut a video file off before its packet of this number."""
    import av

    with av.open(str(path)) as container:
        positions = [found.pos for found in container.demux(video=0) if found.size]
    path.write_bytes(path.read_bytes()[: positions[packet]])
    return path
