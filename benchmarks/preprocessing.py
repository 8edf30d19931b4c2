"""Clips per second and peak memory of the features stage, against a per-clip loop as the OGM-GE scripts run it.

    python benchmarks/preprocessing.py [--clips 200] [--workers 2]

The loop decodes every frame by OpenCV and writes it as JPEG, extracts the sound of mp4 clips to wav, loads it by
librosa and takes librosa's STFT (preset `ogm`: 3 s at 22,050 Hz, 257 x 188). The stage makes the same spectrogram and 3
frames of 224 px, both from scratch in fresh processes. Flow (6 pairs computed at 320 x 240, UCF-101's protocols) has no
loop beside it: its rate and memory are printed (benchmarks/flow.py compares algorithms). The loop's first clip, with
librosa's slow first call, is untimed; of the stage, start-up (a run on 2 clips) is given apart, because it does not
grow. Processor time is the number to trust on a shared machine; the loop has one process, so wall time also gains from
`--workers`. Two sets: generated clips in CREMA-D's formats (flv1 480 x 360, 30 a second, and 16 kHz wav, 2.5 s), and
GRID where ../shared/data is at hand.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

GRID = Path(__file__).resolve().parents[2] / "shared" / "data" / "grid" / "clips"
FEATURES = {
    "audio": {"kind": "spectrogram", "preset": "ogm"},
    "visual": {"kind": "frames", "n": 3, "size": [224, 224], "margin": 32, "channels": 3},
}
FLOW = {"flow": {"kind": "flow", "n": 6, "size": [224, 224], "compute_size": [240, 320]}}


def main() -> None:
    """Print clips per second, their ratio, and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200, help="clips timed")
    parser.add_argument("--workers", type=int, default=2, help="runtime.workers of the stage")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sets = {"generated (flv + wav)": generated(root / "media", options.clips)}
        if GRID.is_dir():
            sets["GRID (mp4)"] = [
                {"audio": path, "visual": path} for path in sorted(GRID.glob("*.mp4"))[: options.clips]
            ]
        for name, clips in sets.items():
            loop = naive_loop(clips, root / "naive")
            start, _ = stage(clips[:2], root / "stage", options.workers, FEATURES)
            whole, memory = stage(clips, root / "stage", options.workers, FEATURES)
            flow, flow_memory = stage(
                [{"flow": clip["visual"]} for clip in clips], root / "stage", options.workers, FLOW
            )
            steady = whole - start
            print(f"{name}: {len(clips)} clips, both modalities")
            print(f"  {'':28s}{'clips/s':>10s}{'ratio':>8s}{'CPU ms/clip':>16s}{'ratio':>8s}")
            for title, cost in (("per-clip loop", loop), ("features stage", steady), ("  with its start-up", whole)):
                rate, cpu = len(clips) / cost.wall, 1e3 * cost.cpu / len(clips)
                print(f"  {title:28s}{rate:10.1f}{loop.wall / cost.wall:8.1f}{cpu:16.1f}{loop.cpu / cost.cpu:8.1f}")
            print(
                f"  start-up of two stages {start.wall:.1f} s; peak memory {memory:.0f} MiB in all processes"
                " together (target: 1536)"
            )
            print(
                f"  flow, start-up included: {len(clips) / flow.wall:.1f} clips/s,"
                f" {1e3 * flow.cpu / len(clips):.0f} CPU ms per clip, {flow_memory:.0f} MiB",
                flush=True,
            )


@dataclass
class Cost:
    """Seconds by the clock, and of processor time in all processes."""

    wall: float
    cpu: float

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.wall - other.wall, self.cpu - other.cpu)


def generated(folder: Path, count: int) -> list[dict[str, Path]]:
    """Moving gratings with grain, and noise for sound: as hard to decode as a face and a voice."""
    import av

    folder.mkdir()
    grain = np.random.default_rng(0).normal(0, 12, (420, 540))
    y, x = np.mgrid[:360, :480]
    clips = []
    for number in range(count):
        draw = np.random.default_rng(number)
        video, sound = folder / f"{number:04d}.flv", folder / f"{number:04d}.wav"
        with av.open(str(video), "w") as container:
            stream = container.add_stream("flv1", rate=30, bit_rate=400_000)
            stream.width, stream.height, stream.pix_fmt = 480, 360, "yuv420p"
            for step in range(75):
                moved = grain[step % 60 :, (2 * step) % 60 :][:360, :480]
                grey = 128 + 70 * np.sin((x * draw.uniform(0.02, 0.03) + y * 0.01) + step / 9) + moved
                picture = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        with wave.open(str(sound), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(draw.integers(-3000, 3000, 40000, dtype=np.int16).tobytes())
        clips.append({"audio": sound, "visual": video})
    return clips


def naive_loop(clips: list[dict[str, Path]], folder: Path) -> Cost:
    """Cost of the loop; one clip is untimed, for librosa's slow first call."""
    import warnings

    import cv2
    import librosa

    warnings.simplefilter("ignore")

    def one(clip: dict[str, Path]) -> None:
        frames = folder / clip["visual"].stem
        frames.mkdir(parents=True, exist_ok=True)
        capture, number = cv2.VideoCapture(str(clip["visual"])), 0
        while True:
            more, picture = capture.read()
            if not more:
                break
            cv2.imwrite(str(frames / f"{number:05d}.jpg"), picture)
            number += 1
        sound = clip["audio"] if clip["audio"].suffix == ".wav" else extracted(clip["audio"], frames / "audio.wav")
        samples, _ = librosa.load(sound, sr=22050)
        samples = np.clip(np.tile(samples, 3)[: 22050 * 3], -1, 1)
        spectrogram = np.log(np.abs(librosa.stft(samples, n_fft=512, hop_length=353)) + 1e-7)
        np.save(frames / "audio.npy", spectrogram)

    one(clips[0])
    begin = Cost(time.perf_counter(), time.process_time())
    for clip in clips:
        one(clip)
    return Cost(time.perf_counter(), time.process_time()) - begin


def extracted(clip: Path, path: Path) -> Path:
    """The sound track as wav, as the scripts' ffmpeg step writes it."""
    import av
    import soundfile

    with av.open(str(clip)) as container:
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
        soundfile.write(path, sound.T, container.streams.audio[0].rate)
    return path


def stage(
    clips: list[dict[str, Path]], folder: Path, workers: int, features: dict[str, dict[str, Any]]
) -> tuple[Cost, float]:
    """Cost of the features stage for these modalities in fresh processes, and its peak memory in MiB."""
    folder.mkdir(exist_ok=True)
    params = {
        "study": {"datasets": ["bench"], "from-scratch": [], "from-warmup": [], "seeds": [0]},
        "runtime": {"workers": workers},
        "datasets": {"bench": {"kind": "table", "root": "/", "table": "none.csv", "modalities": features}},
        "methods": {},
    }
    (folder / "params.yaml").write_text(json.dumps(params))
    samples = [
        {
            "id": f"{number:06d}",
            "label": 0,
            "group": None,
            "split": "train",
            "start": None,
            "end": None,
            "paths": {m: str(p)[1:] for m, p in clip.items()},
        }
        for number, clip in enumerate(clips)
    ]
    index = folder / "data" / "bench" / "index.json"
    index.parent.mkdir(parents=True, exist_ok=True)
    index.write_text(json.dumps({"root": "/", "samples": samples, "rejected": []}))
    code = (
        "import sys; from equimodal.params import load_params; from equimodal.stages import features;"
        " features.run(load_params(), 'bench', sys.argv[1])"
    )
    peak, cpu = 0.0, 0.0
    begin = time.perf_counter()
    for modality in features:
        process = subprocess.Popen(
            [sys.executable, "-c", code, modality],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        watch = Watch(process)
        watch.start()
        if process.wait():
            raise SystemExit(f"the stage failed on {modality}")
        watch.join()
        peak, cpu = max(peak, watch.peak), cpu + sum(watch.cpu.values())
    return Cost(time.perf_counter() - begin, cpu), peak


class Watch(threading.Thread):
    """Samples the processes of a session: the largest sum of their resident memory (MiB; libraries count in each), and
    the processor time of each (s).

    Not getrusage: it sees no grandchildren, and the workers are the fork server's children.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        super().__init__()
        self.process, self.peak = process, 0.0
        self.cpu: dict[int, float] = {}

    def run(self) -> None:
        """Until the process ends."""
        while self.process.poll() is None:
            total = 0
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    if os.getsid(number := int(folder.name)) == self.process.pid:
                        total += next(
                            int(line.split()[1])
                            for line in (folder / "status").read_text().splitlines()
                            if line.startswith("VmRSS:")
                        )
                        ticks = (folder / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
                        self.cpu[number] = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
                except (OSError, StopIteration):
                    continue  # it ended while being read
            self.peak = max(self.peak, total / 1024)
            time.sleep(0.1)


if __name__ == "__main__":
    main()
