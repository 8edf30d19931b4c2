"""A cheap look into a media container (which tracks it has, how long it is) or a file of arrays. Nothing is decoded."""

from dataclasses import dataclass
from pathlib import Path

from equimodal.datasets.pointers import REASON, is_pointer
from equimodal.features.arrays import open_arrays
from equimodal.features.media import PLAYLIST, MediaError, absent, is_playlist

# A wav's header says it all; without these FFmpeg reads on, to see whether its samples are something else in disguise.
HEADER_ONLY = {"probesize": "4096", "analyzeduration": "0"}


@dataclass(frozen=True)
class Tracks:
    """What a container says about itself; `error` is why it cannot be read, or None."""

    audio: bool = False
    video: bool = False
    seconds: float | None = None
    error: str | None = None


def probe(path: str) -> Tracks:
    """Open a container and read its headers; never raises for a broken file.

    Args:
        path: file to look at.
    """
    import av
    from av import logging

    if (why := absent(path)) is not None:
        return Tracks(error=why)
    if Path(path).stat().st_size == 0:
        return Tracks(error="empty file")
    if is_playlist(path):
        return Tracks(error=PLAYLIST)
    if is_pointer(Path(path)):
        return Tracks(error=REASON)
    logging.set_level(logging.PANIC)
    try:
        # file: keeps FFmpeg from reading a name such as "-x.mp4" or "concat:..." as anything but a file's.
        options = HEADER_ONLY if _is_wave(path) else {}
        with av.open(f"file:{path}", options=options, metadata_errors="ignore") as container:
            audio = any(stream.codec_context is not None for stream in container.streams.audio)
            # Width 0 is FFmpeg's guess at a file that it knows by its suffix only.
            video = any(
                stream.codec_context is not None and stream.codec_context.width > 0
                for stream in container.streams.video
            )
            # The header's own length may be shorter than a track (an edit list): the longest counts.
            lengths = [container.duration / av.time_base] if container.duration else []
            lengths += [
                float(stream.duration * stream.time_base)
                for stream in container.streams
                if stream.duration and stream.time_base
            ]
            seconds = max(lengths, default=None)
    except (av.FFmpegError, OSError, ValueError) as error:
        return Tracks(error=f"not a readable media file ({_first_line(error)})")
    if not audio and not video:
        return Tracks(error="no audio or video track inside")
    return Tracks(audio, video, seconds)


def _is_wave(path: str) -> bool:
    """Whether a file begins as a wav does, whatever its name."""
    with open(path, "rb") as file:
        start = file.read(12)
    return start[:4] == b"RIFF" and start[8:] == b"WAVE"


def probe_arrays(path: Path, key: str | None) -> Tracks:
    """Open a file of arrays and read its header; never raises for a broken file.

    Args:
        path: a .npy, .npz or .parquet file.
        key: array or column in it.
    """
    try:
        open_arrays(path, key)
    except MediaError as error:
        return Tracks(error=REASON if is_pointer(path) else str(error))
    return Tracks()


def _first_line(error: Exception) -> str:
    """FFmpeg's own words, without the path (which may be absolute) and without numbers of this machine."""
    text = getattr(error, "strerror", None) or str(error)
    return (text.splitlines() or [type(error).__name__])[0]
