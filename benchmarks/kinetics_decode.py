"""Clips per second of 10 s h264 clips: decoding only towards the needed frames against other ways
to get the same frames.

    python benchmarks/kinetics_decode.py [--clips 6] [--repeats 3]

Generated clips as the usual copies of Kinetics have them: mp4, h264 (x264 medium, B-frames), 340 x 256, 25 frames a
second, a key frame every 250 frames (x264's default) or every 50. 3 and 10 evenly spaced frames are taken as RGB. One
process, one thread, processor time; ratios to decoding all are the number to trust on a shared machine.

decode all, convert all   what a loop over OpenCV's read() does
decode all                convert only the needed frames
container seek            FFmpeg's seek to the key frame before each needed frame, then decoding up to it
features                  equimodal.features.video: packets are read first, only those from a key frame up to a
                          needed frame are decoded, and of those no frame that is neither needed itself nor
                          needed to decode another
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from equimodal.features.video import Video

SECONDS, RATE, SIZE = 10, 25, (256, 340)
Read = Callable[[Path, int], dict[int, np.ndarray]]


def main() -> None:
    """Print clips per second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=6, help="clips generated of each kind")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; the best of them counts")
    options = parser.parse_args()
    ways: dict[str, Read] = {
        "decode all, convert all": all_converted,
        "decode all": all_decoded,
        "container seek": seeking,
        "features": chosen,
    }
    with tempfile.TemporaryDirectory() as folder:
        for gap in (250, 50):
            clips = [generated(Path(folder) / f"{gap}-{number}.mp4", number, gap) for number in range(options.clips)]
            for count in (3, 10):
                print(f"a key frame every {gap} frames, {count} of {SECONDS * RATE} frames needed")
                print(f"  {'':26s}{'clips/s':>10s}{'ms/clip':>12s}{'ratio':>8s}")
                costs = timed(ways, clips, count, options.repeats)
                for name, cost in costs.items():
                    print(
                        f"  {name:26s}{len(clips) / cost:10.1f}{1e3 * cost / len(clips):12.1f}"
                        f"{costs['decode all'] / cost:8.2f}",
                        flush=True,
                    )


def timed(ways: dict[str, Read], clips: list[Path], count: int, repeats: int) -> dict[str, float]:
    """Processor seconds of each way over all clips, the best of the rounds;
    the ways take turns, and give the same frames.
    """
    expected = [all_decoded(clip, count) for clip in clips]
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, read in ways.items():
            begin = time.process_time()
            found = [read(clip, count) for clip in clips]
            best[name] = min(best[name], time.process_time() - begin)
            for one, other in zip(found, expected, strict=True):
                assert one.keys() == other.keys() and all(np.array_equal(one[index], other[index]) for index in one), (
                    name
                )
    return best


def generated(path: Path, number: int, gap: int) -> Path:
    """A textured ground that moves under a moving disc, with grain: as hard to decode as a real scene, roughly."""
    draw = np.random.default_rng(number)
    ground = np.cumsum(np.cumsum(draw.normal(0, 1, (SIZE[0] + 120, SIZE[1] + 120, 3)), axis=0), axis=1)
    ground = (ground - ground.min()) / np.ptp(ground) * 200
    grain = draw.normal(0, 4, (8, *SIZE, 1))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(
            "libx264", rate=RATE, options={"preset": "medium", "crf": "23", "g": str(gap), "threads": "1"}
        )
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        for step in range(SECONDS * RATE):
            down, across = 60 + int(50 * np.sin(step / 40)), 60 + int(50 * np.cos(step / 55))
            picture = ground[down : down + SIZE[0], across : across + SIZE[1]] + grain[step % 8]
            disc = np.hypot(y - 128 - 60 * np.sin(step / 9), x - 170 - 90 * np.cos(step / 13)) < 35
            picture[disc] = 255 - picture[disc]
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.clip(picture, 0, 255).astype(np.uint8), format="rgb24"))
            )
        container.mux(stream.encode(None))
    return path


def wanted(count: int) -> list[int]:
    """Indices of the centres of `count` equal parts."""
    return [int((part + 0.5) * SECONDS * RATE / count) for part in range(count)]


def all_converted(path: Path, count: int) -> dict[int, np.ndarray]:
    """Every frame becomes RGB."""
    needed = set(wanted(count))
    with opened(path) as container:
        pictures = (
            (index, frame.to_ndarray(format="rgb24", threads=1))
            for index, frame in enumerate(container.decode(video=0))
        )
        return {index: picture for index, picture in pictures if index in needed}


def all_decoded(path: Path, count: int) -> dict[int, np.ndarray]:
    """Needed frames become RGB."""
    needed = set(wanted(count))
    with opened(path) as container:
        return {
            index: frame.to_ndarray(format="rgb24", threads=1)
            for index, frame in enumerate(container.decode(video=0))
            if index in needed
        }


def seeking(path: Path, count: int) -> dict[int, np.ndarray]:
    """One seek a needed frame."""
    found = {}
    with opened(path) as container:
        stream = container.streams.video[0]
        unit = Fraction(1, RATE) / stream.time_base
        for index in wanted(count):
            container.seek(int(index * unit), stream=stream)
            found[index] = next(frame for frame in container.decode(stream) if frame.pts >= index * unit).to_ndarray(
                format="rgb24", threads=1
            )
    return found


def chosen(path: Path, count: int) -> dict[int, np.ndarray]:
    """As the features stage does it."""
    return Video.probe(path).read(wanted(count), "rgb24", lambda picture: picture)


def opened(path: Path) -> av.container.InputContainer:
    """One thread, as the features stage's workers have."""
    container = av.open(str(path))
    container.streams.video[0].thread_count = 1
    return container


if __name__ == "__main__":
    main()
