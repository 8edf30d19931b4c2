"""An epoch of training fed from stored arrays (resident, or behind a memory map) against the same loop fed by a
per-item loader.

The per-item loader does what the OGM-GE code's Dataset does: for every sample read its sound, compute the spectrogram,
decode its jpg frames, crop and resize them. Model, loop and sizes are those of GRID in params.yaml (width 8, five
frames of 32x40, 40 mel bins, batch 64, one thread).
CPU seconds are compared, which other work on the machine changes little.

    python benchmarks/epoch.py [samples]
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import librosa
import numpy as np
import soundfile
import torch
from torch import Tensor

from equimodal.methods.base import Task
from equimodal.methods.joint.method import Joint
from equimodal.methods.joint.settings import JointSettings
from equimodal.models.framework import build_model
from equimodal.objectives import Classification
from equimodal.settings.training import ModelSettings, RuntimeSettings, TrainingSettings
from equimodal.training.data import DataModule
from equimodal.training.loop import Loop

RATE, SECONDS, FRAMES, CLASSES = 16000, 0.5, 5, 51
PICTURE = (288, 360)  # height, width of a decoded frame of GRID
MEL = {"sr": RATE, "n_fft": 512, "hop_length": 160, "win_length": 400, "n_mels": 40, "pad_mode": "constant"}
CPU = torch.device("cpu")


def write_media(folder: Path, count: int) -> None:
    """Noise as sound, smooth noise as frames: content does not change the cost of reading them."""
    random = np.random.default_rng(0)
    for i in range(count):
        soundfile.write(folder / f"{i}.wav", random.normal(scale=0.1, size=int(RATE * SECONDS)), RATE)
        for frame in range(FRAMES):
            coarse = random.integers(0, 256, (18, 24, 3), dtype=np.uint8)
            cv2.imwrite(
                str(folder / f"{i}_{frame}.jpg"), cv2.resize(coarse, PICTURE[::-1], interpolation=cv2.INTER_CUBIC)
            )


def read_sound(folder: Path, i: int) -> np.ndarray:
    """Log mel spectrogram [1, 40, 51]."""
    wave, _ = soundfile.read(folder / f"{i}.wav", dtype="float32")
    return np.log(librosa.feature.melspectrogram(y=wave, **MEL) + 1e-7)[None]


def read_frames(folder: Path, i: int, size: tuple[int, int]) -> np.ndarray:
    """Grey frames of `size`, cut from the mouth's part of the picture: [1, 5, H, W] uint8."""
    frames = []
    for frame in range(FRAMES):
        picture = cv2.imread(str(folder / f"{i}_{frame}.jpg"), cv2.IMREAD_GRAYSCALE)
        frames.append(cv2.resize(picture[175:253, 112:202], size[::-1], interpolation=cv2.INTER_AREA))
    return np.stack(frames)[None]


def store(folder: Path, count: int) -> dict[str, Any]:
    """The features stage in short: arrays and their manifest."""
    np.save(folder / "audio.npy", np.stack([read_sound(folder, i) for i in range(count)]).astype(np.float32))
    np.save(folder / "visual.npy", np.stack([read_frames(folder, i, (36, 44)) for i in range(count)]))
    splits = ["val"] * 2 + ["test"] * 2 + ["train"] * (count - 4)
    sound = {"kind": "spectrogram", "shape": [1, 40, 51], "settings": {}, "mean": [-8.0], "std": [2.0]}
    pictures = {
        "kind": "frames",
        "shape": [1, FRAMES, 36, 44],
        "settings": {"size": [32, 40]},
        "mean": [127.0],
        "std": [50.0],
    }
    modalities = {
        "audio": {**sound, "path": str(folder / "audio.npy")},
        "visual": {**pictures, "path": str(folder / "visual.npy")},
    }
    labels = [i % CLASSES for i in range(count)]
    return {
        "task": "classification",
        "classes": [str(k) for k in range(CLASSES)],
        "labels": labels,
        "rows": list(range(count)),
        "splits": splits,
        "modalities": modalities,
    }


class PerItem(DataModule):
    """The same samples, each read from its files when a batch needs it, augmented one by one."""

    folder: Path

    def training_batches(
        self, batch_size: int, shuffle: torch.Generator, draw: torch.Generator, *rest: Any
    ) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        members = self._members["train"]
        order = members[torch.randperm(len(members), generator=shuffle)]
        for chunk in order.split(batch_size):
            sound = torch.from_numpy(np.stack([read_sound(self.folder, int(i)) for i in chunk]).astype(np.float32))
            frames = torch.stack([self._augmented(int(i), draw) for i in chunk])
            yield (
                {
                    "audio": self.transforms["audio"].evaluate(sound),
                    "visual": self.transforms["visual"].evaluate(frames),
                },
                self.labels[chunk],
            )

    def _augmented(self, i: int, draw: torch.Generator) -> Tensor:
        """One box and one flip per sample, as the stored arrays get."""
        frames = read_frames(self.folder, i, (36, 44))[0]
        scale, down, right, flip = torch.rand(4, generator=draw).tolist()
        side = (0.5 + 0.5 * scale) ** 0.5
        height, width = int(36 * side), int(44 * side)
        top, left = int(down * (36 - height)), int(right * (44 - width))
        cut = [cv2.resize(f[top : top + height, left : left + width], (40, 32)) for f in frames]
        return torch.from_numpy(np.stack([f[:, ::-1] if flip < 0.5 else f for f in cut])[None].copy())


def seconds(data: DataModule, folder: Path, epochs: int = 3) -> float:
    """CPU seconds of an epoch after the first one."""
    torch.manual_seed(0)
    model = build_model(data.shapes, CLASSES, ModelSettings(width=8, layers=(1, 1, 1, 1), stem_pool=False))
    training, runtime = TrainingSettings(epochs=epochs, batch_size=64), RuntimeSettings(device="cpu", threads=1)
    times: list[float] = []
    method = Joint(model, JointSettings(), Task(Classification(CLASSES), epochs, data.steps(64), 0))
    Loop(
        method,
        data,
        training,
        runtime,
        0,
        folder / "checkpoint",
        "key",
        "benchmark",
        lambda epoch, metrics: times.append(time.process_time()),
    ).run()
    return (times[-1] - times[0]) / (epochs - 1)


def main(count: int) -> None:
    """Print CPU seconds and ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_media(folder, count)
        manifest = store(folder, count)
        names = list(manifest["modalities"])
        per_item = PerItem(manifest, names, CPU)
        per_item.folder = folder
        sources = {
            "resident": DataModule(manifest, names, CPU, "device"),
            "memory map": DataModule(manifest, names, CPU, "map"),
            "per item": per_item,
        }
        found = {source: seconds(data, folder) for source, data in sources.items()}
        feeding = {source: feeding_seconds(data) for source, data in sources.items()}
    print(f"{count} samples per epoch, joint training, one thread: CPU seconds")
    for source in sources:
        epoch, alone = found[source], feeding[source]
        against = (
            f"epoch {epoch:6.2f} (x {epoch / found['resident']:.2f})   feeding alone {alone:6.3f} (x"
            f" {alone / feeding['resident']:.1f})"
        )
        print(f"{source:12s} {against}   epoch of 6,000 samples {epoch * 6000 / count:5.1f}")


def feeding_seconds(data: DataModule) -> float:
    """CPU seconds to make an epoch's batches, without training on them."""
    augment = TrainingSettings().augment
    start = time.process_time()
    for _ in data.training_batches(64, torch.Generator().manual_seed(0), torch.Generator().manual_seed(0), augment):
        pass
    return time.process_time() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 640)
