"""The pictures of a clip: the time stamp of every frame, and any chosen frames, decoded in one pass."""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from equimodal.features.media import (
    COMPLETE,
    MediaError,
    Track,
    check_complete,
    opened,
    scan,
    stated_seconds,
    video_track,
)

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

PixelFormat = Literal["rgb24", "gray"]

# Time stamps are rounded by their container (FLV and WebM: to 1 ms): a moment this close before a frame belongs to it.
ROUNDING = 1.5e-3
# In place of a frame that does not decode, the one before it is shown, as a player does;
# but not for longer than this (s).
STAND_IN = 0.25


@dataclass(frozen=True)
class Video:
    """The frames of a clip, found by reading its packets without decoding any.

    Frame counts in headers are unreliable (FLV states none, cv2 counts 91 of 90) and frame rates may vary, so time
    stamps are the only truth here: frame i is shown from `times[i]` until `times[i + 1]`, the last one until `end`;
    seconds from the clip's beginning.
    """

    path: Path
    times: np.ndarray = field(repr=False)
    end: float
    _track: Track = field(repr=False)

    @classmethod
    def probe(cls, path: Path) -> "Video":
        """Look at a clip without decoding it.

        Raises:
            MissingTrackError: the clip has sound only.
            MediaError: unreadable, without frames, or cut off.
        """
        with opened(path) as container:
            stream = video_track(container)
            track = scan(container, stream)
            rate = float(stream.average_rate or 0)
            stated = stated_seconds(container)
            check_complete("frames", len(track.stamps), stream.frames)
            if not stream.duration and track.reach < COMPLETE * stated - 1 / (rate or 25):
                check_complete("frames", len(track.stamps), stated * rate)
        shown = track.times[~track.hidden]
        if not len(shown):
            raise MediaError("no picture: the video track holds 0 frames")
        times = np.unique(shown)
        alone = float(track.durations.max()) or 1 / (rate or 25)
        lasting = float(np.median(np.diff(times))) if len(times) > 1 else alone
        return cls(path, times, float(times[-1]) + lasting, track)

    def at(self, moments: np.ndarray) -> np.ndarray:
        """Index of the frame shown at each moment (s from the clip's beginning); the first or last one outside.

        Shape as `moments`.
        """
        return np.clip(np.searchsorted(self.times, moments + ROUNDING, side="right") - 1, 0, len(self.times) - 1)

    def read(
        self, wanted: Collection[int], pixels: PixelFormat, keep: Callable[[np.ndarray], np.ndarray]
    ) -> dict[int, np.ndarray]:
        """Decode the wanted frames; `keep` crops and shrinks each picture ([H, W, 3] or [H, W], uint8, upright)
        as it comes.

        A damaged frame is replaced by the one before it (`STAND_IN`), or else left out of the result.

        Raises:
            MediaError: unreadable.
        """
        kept, whole = self._read(wanted, pixels, keep, sparing=True)
        if not whole:  # damaged, or a stream whose decoder needs all frames to put them in order
            kept, _ = self._read(wanted, pixels, keep, sparing=False)
        return kept

    def _read(
        self, wanted: Collection[int], pixels: PixelFormat, keep: Callable[[np.ndarray], np.ndarray], sparing: bool
    ) -> tuple[dict[int, np.ndarray], bool]:
        """The same, and whether every wanted frame was there itself. `sparing`: frames that no other needs are decoded
        only if wanted.
        """
        stamps = np.unique(self._track.stamps[~self._track.hidden])
        index_of = {int(stamps[index]): index for index in wanted}
        key_of = {stamp: int(self._track.stamps[self._key_before(stamp)]) for stamp in index_of}
        todo = deque(sorted(index_of))
        kept: dict[int, np.ndarray] = {}
        convert = _Converter(pixels)
        shown, previous, whole = 0, None, True

        def stand_in(stamp: int) -> None:
            nonlocal whole
            whole = False
            if previous is not None and key_of[stamp] <= shown and (stamp - shown) * self._track.unit <= STAND_IN:
                kept[index_of[stamp]] = keep(convert(previous))

        for stamp, frame in self._decode(sorted(index_of), sparing):
            while todo and todo[0] < stamp:
                stand_in(todo.popleft())
            if todo and todo[0] == stamp:
                kept[index_of[todo.popleft()]] = keep(convert(frame))
            shown, previous = stamp, frame
        for stamp in todo:
            stand_in(stamp)
        return kept, whole

    def _key_before(self, stamp: int) -> int:
        """Packet at which decoding must begin to show the frame `stamp`: a key frame that is not after it in time
        either (open groups of pictures).
        """
        stamps = self._track.stamps
        packet = int(np.flatnonzero(stamps == stamp)[0])
        keys = np.flatnonzero(self._track.keys[: packet + 1] & (stamps[: packet + 1] <= stamp))
        return int(keys[-1]) if len(keys) else 0

    def _decode(self, stamps: Collection[int], sparing: bool) -> Iterator[tuple[int, "VideoFrame"]]:
        """Demux everything, but decode only from the key frame before each wanted frame up to that frame.

        So no container's own seeking has to be trusted. Measured (CPU ms for 3 frames of a clip, opening it included):
        FLV, 75 frames, a key frame every 12: 2.5; decoding all 11.7; seeking 1.9. GRID, 75 frames of h264, one key
        frame: 6.9; decoding all 7.3; seeking 11.3.
        """
        import av

        feed = np.zeros(len(self._track.stamps) + 1, dtype=bool)
        for stamp in stamps:
            feed[self._key_before(stamp) : int(np.flatnonzero(self._track.stamps == stamp)[0]) + 1] = True
        left = int(feed.sum())
        needed = set(stamps)
        with self._track.decoding(self.path, video_track) as (context, packets):
            # Frames of h264 say of themselves whether another refers to them.
            sparing = sparing and context.name == "h264"
            for ordinal, packet in enumerate(packets):
                if not feed[ordinal]:
                    continue
                left -= 1
                context.skip_frame = (
                    "NONREF" if sparing and int(self._track.stamps[ordinal]) not in needed else "DEFAULT"
                )
                # None: hand out what the decoder holds back
                for piece in (packet,) if feed[ordinal + 1] else (packet, None):
                    try:
                        decoded = context.decode(piece)
                    except av.FFmpegError:
                        continue  # one damaged packet; whether it matters shows in which frames come out
                    for frame in decoded:
                        if frame.pts is not None:
                            yield frame.pts, frame
                if not feed[ordinal + 1]:
                    context.flush_buffers()
                if not left:
                    return


class _Converter:
    """Frames to arrays, turned upright as the clip's metadata asks (phones film sideways).

    One reformatter for all frames, and one thread: by default each frame sets up its colour conversion anew and starts
    one thread per core for it, which takes four times as long.
    """

    def __init__(self, pixels: PixelFormat) -> None:
        from av.video.reformatter import VideoReformatter

        self.pixels = pixels
        self.reformatter = VideoReformatter()

    def __call__(self, frame: "VideoFrame") -> np.ndarray:
        picture = self.reformatter.reformat(frame, format=self.pixels, threads=1).to_ndarray()
        quarters = round(frame.rotation / 90)
        return np.ascontiguousarray(np.rot90(picture, quarters)) if quarters else picture
