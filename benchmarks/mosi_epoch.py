"""An epoch of CMU-MOSI's sample: joint training and AIM fed from stored arrays, against joint training fed by a
per-item loader.

The per-item loader does what MultiBench's Dataset does: for every sample cut the arrays at its first word, make
tensors, standardise voice and face by the sample's own statistics; the batch is padded by torch's pad_sequence. Model,
loop and sizes are those of `mosi` in params.yaml. CPU seconds are compared, which other work on the machine changes
little; AIM is timed from its own prototypes, as after its warm-up.

    python benchmarks/mosi_epoch.py [epochs]
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from equimodal.models.padded import Padded, lengths_mask
from equimodal.params import Params, parse_params
from equimodal.stages import features, index, manifest, raw
from equimodal.stages.setup import Setup
from equimodal.training.data import DataModule
from equimodal.training.loop import Loop

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"


class PerItem(DataModule):
    """The same samples, each made from its arrays when a batch needs it."""

    def training_batches(
        self, batch_size: int, shuffle: torch.Generator, *rest: Any
    ) -> Iterator[tuple[dict[str, Any], Tensor]]:
        members = self._members["train"]
        order = members[torch.randperm(len(members), generator=shuffle)]
        for chunk in order.split(batch_size)[: self.steps(batch_size)]:
            items = [self._item(int(i)) for i in chunk]
            lengths = {name: torch.tensor([len(item[name]) for item in items]) for name in self.modalities}
            values = {name: pad_sequence([item[name] for item in items], batch_first=True) for name in self.modalities}
            filled = {
                name: torch.nn.functional.pad(x, (0, 0, 0, self.shapes[name][0] - x.shape[1]))
                for name, x in values.items()
            }
            yield (
                {name: Padded(x, lengths_mask(lengths[name], x.shape[1])) for name, x in filled.items()},
                self.labels[chunk],
            )

    def _item(self, i: int) -> dict[str, Tensor]:
        item = {}
        for name in self.modalities:
            row = int(self._rows[i])
            array = np.asarray(self._arrays[name].data[row])
            x = torch.tensor(array[: int(self._lengths[name][row])]).float()
            item[name] = (
                x if name == "text" else (x - x.mean(0, keepdim=True)) / (x.std(0, keepdim=True, correction=0) + 1e-6)
            )
        return item


def seconds(params: Params, method: str, epochs: int, per_item: bool = False) -> float:
    """CPU seconds of an epoch, evaluation included, after the first one."""
    setup = Setup.open(params, "mosi", method, 0)
    data = PerItem(setup.data.manifest, setup.data.modalities, setup.data.device, "device") if per_item else setup.data
    times: list[float] = []
    loop = Loop(
        setup.method(),
        data,
        params.training_of("mosi").model_copy(update={"epochs": epochs + 1}),
        params.runtime,
        0,
        Path("checkpoint") / f"{method}-{per_item}",
        "key",
        "benchmark",
        lambda epoch, metrics: times.append(time.process_time()),
    )
    loop.run()
    return (times[-1] - times[0]) / epochs


def main(epochs: int) -> None:
    """Build the sample in a temporary folder, print CPU seconds and ratios."""
    content = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    content["tracking"], content["runtime"]["device"] = {"enabled": False}, "cpu"
    params = parse_params(content)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        raw.run(params, "mosi")
        index.run(params, "mosi")
        for modality in params.dataset("mosi").modalities:
            features.run(params, "mosi", modality)
        manifest.run(params, "mosi")
        found = {
            "joint, stored arrays": seconds(params, "joint", epochs),
            "joint, per-item loader": seconds(params, "joint", epochs, per_item=True),
            "aim without PAM": seconds(params, "aim-no-pam", epochs),
            "aim": seconds(params, "aim", epochs),
        }
        os.chdir("/")
    base = found["joint, stored arrays"]
    print(f"{'an epoch of the sample':<26}{'CPU s':>8}{'ratio':>8}")
    for name, value in found.items():
        print(f"{name:<26}{value:>8.2f}{value / base:>8.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
