"""The sound track of a clip: its extent, and any windows of it as mono waveforms, decoded in one pass."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from equimodal.features.media import (
    MediaError,
    Track,
    check_complete,
    opened,
    origin,
    runs,
    scan,
    sound_track,
    stated_seconds,
)

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

Window = tuple[float, float]

# Decoders of mp3, AAC and Opus need some packets before they are exact; a second is far more than any of them.
PREROLL = 1.0
# Room for the resampler's filter on both sides of a window, so that its edges are as good as its middle.
EDGE = 0.05
# Time stamps jitter by a packet or so; a jump beyond this is a hole and becomes silence.
HOLE = 0.1


@dataclass(frozen=True)
class Sound:
    """Where the sound of a clip begins and ends, in seconds from the clip's beginning.

    `soundfile` reads what it can (0.3 ms per clip of 3 s against 2 ms or more by PyAV); PyAV reads the rest.
    """

    path: Path
    start: float
    end: float
    _track: Track | None = field(default=None, repr=False)
    """The packets that PyAV decodes; None where `soundfile` reads."""
    _zero: float = 0.0
    """Time stamp of the clip's beginning in seconds."""

    @classmethod
    def probe(cls, path: Path) -> "Sound":
        """Look at a clip without decoding it.

        Raises:
            MissingTrackError: the clip has pictures only.
            MediaError: unreadable, empty, or cut off.
        """
        if path.suffix.lower() in (".wav", ".flac"):
            found = _probe_wave(path)
            if found is not None:
                return found
        with opened(path) as container:
            stream = sound_track(container)
            track = scan(container, stream)
            if not len(track.stamps):
                raise MediaError("no sound: the track holds 0 samples")
            start, end = max(0.0, float(track.times.min())), float((track.times + track.durations).max())
            stated = stated_seconds(container)
            if stated and stream.duration:
                check_complete("s of sound", end - start, stream.duration * track.unit)
            else:
                check_complete("s of sound", max(track.reach, end), stated)
            return cls(path, start, end, track, origin(container))

    def read(self, windows: Sequence[Window], rate: int) -> list[np.ndarray | MediaError]:
        """Mono float32 waveforms at `rate` Hz of windows (start, end in s), each cut to where the clip has sound.

        Windows are read at the track's own rate with some room on both sides, mixed down by the mean of the channels,
        then resampled by soxr: the same as `librosa.load`,
        and a window does not depend on which others are read with it.

        A window without sound, or with damaged sound, gives the MediaError instead of raising it:
        the others are still good.
        """
        inside = [(max(start, self.start), min(end, self.end)) for start, end in windows]
        good = [index for index, (start, end) in enumerate(inside) if end > start]
        wide = [(max(inside[index][0] - EDGE, self.start), inside[index][1] + EDGE) for index in good]
        pieces = _read_wave(self.path, wide) if self._track is None else self._read_av(self._track, wide)
        results: list[np.ndarray | MediaError] = [
            MediaError(
                f"no sound between {start:.2f} and {end:.2f} s (it lasts from {self.start:.2f} to {self.end:.2f} s)"
            )
            for start, end in windows
        ]
        for index, piece in zip(good, pieces, strict=True):
            results[index] = _resampled(piece, rate, inside[index])
        return results

    def _read_av(self, track: Track, windows: Sequence[Window]) -> list["_Piece"]:
        spans = runs(windows, PREROLL)
        decoded = self._decode(track, spans)
        pieces = []
        for start, end in windows:
            run = decoded[int(np.searchsorted(spans[:, 0], start, side="right")) - 1]
            first = max(0, round((start - run.start) * run.rate))
            last = max(first, round((end - run.start) * run.rate))
            pieces.append(_Piece(run.samples[first:last], run.rate, run.start + first / run.rate))
        return pieces

    def _decode(self, track: Track, spans: np.ndarray) -> list["_Piece"]:
        """The sound of each span [R, 2] (s): only the packets that they need, without any container's own seeking
        having to be trusted.
        """
        import av

        begins, ends = track.times, track.times + track.durations
        found = []
        with track.decoding(self.path, sound_track) as (context, packets):
            ordinal, packet = 0, next(packets, None)
            for low, high in spans:
                frames: list[AudioFrame] = []
                while packet is not None and begins[ordinal] <= high:
                    if ends[ordinal] >= low:
                        # One damaged packet: a hole, filled with silence below
                        with contextlib.suppress(av.FFmpegError):
                            frames += context.decode(packet)
                    ordinal, packet = ordinal + 1, next(packets, None)
                with contextlib.suppress(av.FFmpegError):
                    frames += context.decode(None)
                context.flush_buffers()
                found.append(_joined(frames, track.unit, self._zero, high))
        return found


@dataclass(frozen=True)
class _Piece:
    """Decoded samples [n] at `rate` Hz, the first one at `start` seconds."""

    samples: np.ndarray
    rate: int
    start: float


def _resampled(piece: _Piece, rate: int, window: Window) -> np.ndarray | MediaError:
    import soxr

    if not len(piece.samples):
        return MediaError(f"damaged: no sound decodes between {window[0]:.2f} and {window[1]:.2f} s")
    if not np.isfinite(piece.samples).all():
        return MediaError("damaged: the sound holds values that are not numbers")
    samples = piece.samples if piece.rate == rate else soxr.resample(piece.samples, piece.rate, rate, quality="HQ")
    first = max(0, round((window[0] - piece.start) * rate))
    kept = samples[first : first + max(1, round((window[1] - window[0]) * rate))]
    return kept if len(kept) else MediaError(f"damaged: no sound decodes between {window[0]:.2f} and {window[1]:.2f} s")


def _probe_wave(path: Path) -> Sound | None:
    import soundfile

    try:
        info = soundfile.info(str(path), verbose=True)
    except (soundfile.LibsndfileError, OSError):
        return None  # PyAV knows more codecs, and words its refusals
    if info.frames == 0:
        raise MediaError("no sound: the track holds 0 samples")
    stated = _stated_bytes(path)
    if stated is not None:
        check_complete("s of sound", info.duration, info.duration * stated / max(1, path.stat().st_size))
    return Sound(path, 0.0, info.duration)


def _stated_bytes(path: Path) -> int | None:
    """The size that a RIFF header states; None where it says nothing (other formats, written through a pipe)."""
    with open(path, "rb") as file:
        head = file.read(8)
    size = int.from_bytes(head[4:8], "little")
    return size + 8 if head[:4] == b"RIFF" and 0 < size < 0x7FFFFFFF else None


def _read_wave(path: Path, windows: Sequence[Window]) -> list[_Piece]:
    import soundfile

    pieces = []
    try:
        with soundfile.SoundFile(str(path)) as file:
            for start, end in windows:
                first = round(start * file.samplerate)
                file.seek(first)
                samples = file.read(round(end * file.samplerate) - first, dtype="float32", always_2d=True)
                pieces.append(_Piece(samples.mean(axis=1), file.samplerate, first / file.samplerate))
    except soundfile.LibsndfileError as error:
        raise MediaError(f"damaged: {error.error_string}") from None
    return pieces


def _joined(frames: Sequence["AudioFrame"], unit: float, zero: float, end: float) -> _Piece:
    """Frames laid out by their time stamps (in `unit` seconds; the clip begins at `zero`); holes become silence."""
    if not frames:
        return _Piece(np.zeros(0, dtype=np.float32), 1, 0.0)
    rate, channels = frames[0].sample_rate, len(frames[0].layout.channels)
    begin = next((frame.pts * unit - zero for frame in frames if frame.pts is not None), 0.0)
    joined: list[np.ndarray] = []
    unbroken: list[np.ndarray] = []
    length = 0
    for frame in frames:
        if frame.sample_rate != rate or len(frame.layout.channels) != channels:
            raise MediaError("damaged: the sample rate or the number of channels changes inside the clip")
        if frame.pts is not None:
            hole = round((min(frame.pts * unit - zero, end) - begin) * rate) - length
            if hole > HOLE * rate:
                joined += [_mono(unbroken), np.zeros(hole, dtype=np.float32)]
                unbroken, length = [], length + hole
        values = frame.to_ndarray()
        unbroken.append(values if frame.format.is_planar else values.reshape(-1, channels).T)
        length += unbroken[-1].shape[1]
    return _Piece(np.concatenate([*joined, _mono(unbroken)]), rate, begin)


def _mono(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Parts [C, n_i] one after another, as float32 [n] in [-1, 1]: the mean of the channels."""
    if not parts:
        return np.zeros(0, dtype=np.float32)
    values = np.concatenate(parts, axis=1)
    if values.dtype == np.uint8:
        values = (values.astype(np.float32) - 128) / 128
    elif values.dtype.kind == "i":
        values = values.astype(np.float32) / np.float32(2 ** (8 * values.itemsize - 1))
    return values.astype(np.float32, copy=False).mean(axis=0)
