"""Optical flow: frame pairs a second by algorithm, threads and workers, and how right each algorithm is on real frames.

    python benchmarks/flow.py [--pairs 60] [--folder ../shared/data/grid/clips]

Speed: one process with 1 and 2 OpenCV threads, then 1 and 2 processes of one thread each, which is how the features
stage works. CPU ms per pair is the number to trust on a shared machine; ratios are against dis-medium with one thread.
Accuracy: real frames moved by a known, smooth displacement (a shift, a zoom and a turn of up to `SHIFT` px), so that
the true flow is known; endpoint error is the distance in px to it, mean and median away from the edges. Agreement: mean
distance between an algorithm's flow and dis-medium's on neighbouring frames as they are. TV-L1 is measured where the
contrib build of OpenCV is installed.
"""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from equimodal.errors import UserError
from equimodal.features.flow import estimator
from equimodal.features.media import MediaError
from equimodal.features.video import Video

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "data" / "grid" / "clips"
ALGORITHMS = ("dis-medium", "dis-fast", "farneback", "tvl1")
SIZE = (240, 320)  # UCF-101's
EDGE = 16  # px left out of the error
SHIFT = 4.0
WORKERS = 2


def main() -> None:
    """Print a line an algorithm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=60, help="pairs of frames timed an algorithm")
    parser.add_argument(
        "--folder", type=Path, default=CLIPS, help="folder of clips; textures are made where it is absent"
    )
    options = parser.parse_args()
    pairs = real_pairs(options.folder, options.pairs) if options.folder.is_dir() else made_pairs(options.pairs)
    moved = [warped(one, number) for number, (one, _) in enumerate(pairs[:: max(1, len(pairs) // 12)])]
    print(
        f"{len(pairs)} pairs of {SIZE[1]} x {SIZE[0]} px from"
        f" {options.folder if options.folder.is_dir() else 'made textures'}"
    )
    columns = (
        ("CPU ms", 8),
        ("ratio", 7),
        ("pairs/s: 1 thread", 19),
        ("2 threads", 11),
        (f"{WORKERS} processes", 13),
        ("error px", 10),
        ("median", 8),
    )
    print(" " * 12 + "".join(f"{title:>{width}s}" for title, width in (*columns, ("to dis-medium", 15))))
    base, reference = 0.0, None
    for name in ALGORITHMS:
        try:
            estimate = estimator(name)
        except UserError as error:
            print(f"{name:12s} {error}")
            continue
        some = pairs[: max(2, len(pairs) // 20)] if name == "tvl1" else pairs
        estimate(*some[0])
        cpu, one = timed(name, some, 1)
        _, two = timed(name, some, 2)
        several = processes(name, some)
        base = base or cpu
        flows = [estimate(*pair) for pair in some[:20]]
        reference = reference or flows
        apart = np.mean([distances(a, b) for a, b in zip(flows, reference, strict=False)])
        wrong = np.array(
            [
                distances(estimate(before, after), truth)
                for before, after, truth in moved[: 2 if name == "tvl1" else None]
            ]
        )
        print(
            f"{name:12s}{cpu:8.1f}{cpu / base:7.2f}{one:19.1f}{two:11.1f}{several:13.1f}{wrong.mean():10.3f}"
            f"{np.median(wrong):8.3f}{apart:15.3f}",
            flush=True,
        )


Pair = tuple[np.ndarray, np.ndarray]


def real_pairs(folder: Path, count: int) -> list[Pair]:
    """Neighbouring grey frames, three pairs per clip."""
    import cv2

    found: list[Pair] = []
    for path in sorted(folder.iterdir()):
        try:
            video = Video.probe(path)
            firsts = [int(len(video.times) * part) for part in (0.2, 0.5, 0.8)]
            wanted = {n for first in firsts for n in (first, first + 1) if len(video.times) > 10}
            frames = video.read(wanted, "gray", lambda p: cv2.resize(p, SIZE[::-1], interpolation=cv2.INTER_AREA))
        except MediaError:
            continue
        if len(frames) < 6 or min(frame.std() for frame in frames.values()) < 5:
            continue  # too short, damaged, or nothing to be seen
        found += [(frames[first], frames[first + 1]) for first in firsts]
        if len(found) >= count:
            break
    return found[:count]


def made_pairs(count: int) -> list[Pair]:
    """Smooth textures that move by one px."""
    import cv2

    draw = np.random.default_rng(0)
    wide = [cv2.GaussianBlur(draw.uniform(0, 255, (SIZE[0], SIZE[1] + 1)), (0, 0), 2.5) for _ in range(count)]
    grey = [cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8) for picture in wide]
    return [(np.ascontiguousarray(picture[:, 1:]), np.ascontiguousarray(picture[:, :-1])) for picture in grey]


def warped(picture: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(before, after, true flow [H, W, 2]): `after` is the picture itself,
    `before` it looked up where each point goes to.
    """
    import cv2

    draw = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    away_x, away_y = (x - SIZE[1] / 2) / SIZE[1], (y - SIZE[0] / 2) / SIZE[0]
    shift, zoom, turn = draw.uniform(-SHIFT, SHIFT, 2), draw.uniform(-SHIFT, SHIFT), draw.uniform(-SHIFT, SHIFT)
    truth = np.stack(
        [shift[0] + zoom * away_x - turn * away_y, shift[1] + zoom * away_y + turn * away_x], axis=2
    ).astype(np.float32)
    before = cv2.remap(picture, x + truth[..., 0], y + truth[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return before, picture, truth


def distances(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Endpoint distances in px, without the edges."""
    return np.hypot(*(one - two)[EDGE:-EDGE, EDGE:-EDGE].transpose(2, 0, 1))


def timed(name: str, pairs: list[Pair], threads: int) -> tuple[float, float]:
    """CPU ms per pair, and pairs a second by the clock."""
    import cv2

    estimate = estimator(name)
    cv2.setNumThreads(threads)
    cpu, clock = time.process_time(), time.perf_counter()
    for pair in pairs:
        estimate(*pair)
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    cv2.setNumThreads(1)
    return 1e3 * cpu / len(pairs), len(pairs) / clock


def processes(name: str, pairs: list[Pair]) -> float:
    """Pairs a second of `WORKERS` processes together; their start is not counted."""
    with ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(_many, [name] * WORKERS, [pairs[:1]] * WORKERS))
        clock = time.perf_counter()
        list(pool.map(_many, [name] * WORKERS, [pairs[part::WORKERS] for part in range(WORKERS)]))
        return len(pairs) / (time.perf_counter() - clock)


def _many(name: str, pairs: list[Pair]) -> int:
    estimate = estimator(name)
    for pair in pairs:
        estimate(*pair)
    return len(pairs)


if __name__ == "__main__":
    main()
