"""Opening media files: what is a clip's sound, what is its picture, and why a clip cannot be used."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from equimodal.files import no_file

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

# A clip that holds less than this share of what its header states is taken for cut off. Not 1: headers round, and edit
# lists hide some frames.
COMPLETE = 0.75

# Encoded bytes of one track that are kept in memory from scanning to decoding.
KEPT = 16 << 20


class MediaError(Exception):
    """A clip, or one sample of it, cannot be used; the message is the reason that the features file records."""


class MissingTrackError(MediaError):
    """The clip is readable but has no such track, so `missing: zero` may fill it."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator["InputContainer"]:
    """A container opened for demuxing by one thread (processes give the parallelism).

    Raises:
        MediaError: not a media file, a still picture, damaged beyond opening;
            or whatever FFmpeg raises inside the block.
    """
    import av

    av.logging.set_level(av.logging.PANIC)  # type: ignore[attr-defined]  # its complaints come back as exceptions
    try:
        if (why := absent(path)) is not None:
            raise MediaError(f"unreadable: {why}")
        if Path(path).stat().st_size == 0:
            raise MediaError("unreadable: the file is empty (0 bytes)")
        if is_playlist(path):
            raise MediaError(f"unreadable: {PLAYLIST}")
        # `file:` keeps FFmpeg from reading a protocol or an option into an odd file name.
        with av.open(
            f"file:{path}", options={"fflags": "+genpts"}, metadata_errors="ignore"
        ) as container:  # AVI leaves out the time stamps of B-frames
            if container.format.name.startswith("image") or container.format.name.endswith("_pipe"):
                raise MediaError(f"unreadable: no sound or video container ({container.format.name})")
            yield container
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"unreadable: {_cause(error)}") from None


def absent(path: Path | str) -> str | None:
    """Why there is no file to read: "no such file", "is a folder, not a file"; None if there is one."""
    why = no_file(path)
    return "no such file" if why == "does not exist" else why


PLAYLIST = "a playlist, which names other files, not media"


def is_playlist(path: Path | str) -> bool:
    """Whether FFmpeg would read other files, which the dataset does not list, in this one's place."""
    with open(path, "rb") as file:
        return file.read(20).startswith((b"ffconcat version", b"#EXTM3U"))


def _cause(error: Exception) -> str:
    """FFmpeg's words without the absolute path, and without its log, which leaves out what it has said before: neither
    may get into a result.
    """
    return str(getattr(error, "strerror", None) or str(error).split(":")[0])


def sound_track(container: "InputContainer") -> "AudioStream":
    """The first sound track that can be decoded."""
    for stream in container.streams.audio:
        if stream.codec_context is None:
            raise MediaError("unreadable: no decoder for the sound track")
        stream.codec_context.thread_count = 1
        return stream
    if not container.streams.video:
        raise MediaError("unreadable: the container holds no track")
    raise MissingTrackError("no audio track")


def video_track(container: "InputContainer") -> "VideoStream":
    """The first moving picture; the cover of a music file is none."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            continue
        if stream.codec_context is None:
            raise MediaError("unreadable: no decoder for the video track")
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
        return stream
    if not container.streams.audio:
        raise MediaError("unreadable: the container holds no track")
    raise MissingTrackError("no video track")


def packets(container: "InputContainer", *streams: "AudioStream | VideoStream") -> Iterator["Packet"]:
    """The streams' packets in decoding order. A file that breaks off ends the iteration:
    what came before is still good.
    """
    import av

    try:
        for packet in container.demux(*streams):
            if packet.size:  # the empty one at the end only flushes the decoder
                yield packet
    except av.FFmpegError:
        return


@dataclass(frozen=True)
class Track:
    """What a track's packets say of themselves, in decoding order: arrays of shape [P], times in seconds from the
    clip's beginning.
    """

    stamps: np.ndarray
    """Presentation time in units of the container, int64: what identifies a frame."""
    times: np.ndarray
    durations: np.ndarray
    keys: np.ndarray
    hidden: np.ndarray
    unit: float
    """Seconds of one unit."""
    reach: float
    """Where the last packet begins: the track's own, or of all tracks if this one states no length."""
    kept: "tuple[Any, list[Packet]] | None" = field(default=None, repr=False, compare=False)
    """The decoder and the packets themselves, unless they are too many: saves opening the file again, which costs as
    much as scanning it.
    """

    @contextlib.contextmanager
    def decoding(
        self, path: Path, choose: "Callable[[InputContainer], AudioStream | VideoStream]"
    ) -> "Iterator[tuple[Any, Iterator[Packet]]]":
        """A fresh decoder, and the track's packets in the order of the arrays."""
        if self.kept is not None:
            context, kept = self.kept
            context.flush_buffers()
            yield context, iter(kept)
            return
        with opened(path) as container:
            stream = choose(container)
            yield stream.codec_context, packets(container, stream)


def scan(container: "InputContainer", stream: "AudioStream | VideoStream") -> Track:
    """Read a track's packets without decoding any (half a millisecond for a clip of 3 s).

    Raises:
        MediaError: packets without time stamps.
    """
    everything: list[AudioStream | VideoStream] = [*container.streams.audio, *container.streams.video]
    tracks = [stream] if stream.duration else everything  # a track that states no length ends early if all tracks do
    units = {track.index: float(track.time_base or 1) for track in tracks}  # fractions are slow
    zero, unit, own = origin(container), float(stream.time_base or 1), stream.index
    found, reach = [], 0.0
    kept: list[Packet] = []
    size = 0
    for packet in packets(container, *tracks):
        stamp, index = packet.pts if packet.pts is not None else packet.dts, packet.stream_index
        if index == own:
            if stamp is None:
                raise MediaError("unreadable: the track has no time stamps")
            found.append((stamp, packet.duration or 0, packet.is_keyframe, packet.is_discard))
            size += packet.size
            if size <= KEPT:
                kept.append(packet)
        if stamp is not None:
            reach = max(reach, stamp * units[index] - zero)
    stamps, durations, keys, hidden = np.array(found, dtype=np.int64).reshape(-1, 4).T
    return Track(
        stamps,
        stamps * unit - zero,
        durations * unit,
        keys.astype(bool),
        hidden.astype(bool),
        unit,
        reach,
        (stream.codec_context, kept) if size <= KEPT else None,
    )


def origin(container: "InputContainer") -> float:
    """Time stamp of the clip's beginning in seconds: second 0 of a table's start and end columns."""
    return (container.start_time or 0) / 1e6


def stated_seconds(container: "InputContainer") -> float:
    """How long the header says the clip is; 0 where FFmpeg only guesses (from the bit rate of a bare mp3, say)."""
    return (
        (container.duration or 0) / 1e6
        if container.format.name.startswith(("mov", "matroska", "avi", "flv", "asf", "wav"))
        else 0.0
    )


def check_complete(unit: Literal["frames", "s of sound"], found: float, stated: float) -> None:
    """Refuse a clip that breaks off early.

    Raises:
        MediaError: fewer than `COMPLETE` of the stated frames or seconds are there.
    """
    if found < COMPLETE * stated:
        digits = 0 if unit == "frames" else 2
        raise MediaError(f"truncated: decoded {found:.{digits}f} of {stated:.{digits}f} {unit}")


def runs(spans: Sequence[tuple[float, float]], before: float) -> np.ndarray:
    """Disjoint, sorted spans (s) that cover `spans`, each begun `before` seconds earlier. Shape [R, 2]."""
    merged: list[list[float]] = []
    for start, end in sorted(spans):
        if merged and start - before <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start - before, end])
    return np.array(merged, dtype=np.float64).reshape(-1, 2)
