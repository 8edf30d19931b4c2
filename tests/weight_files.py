"""Files of ResNets in torchvision's names, written plainly: names and shapes as
`torchvision.models.resnet18().state_dict()` has them.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor


def state(
    width: int = 64, layers: tuple[int, ...] = (2, 2, 2, 2), channels: int = 3, classes: int = 1000, seed: int = 0
) -> dict[str, Tensor]:
    """A state dict with random values, batch statistics and counters included."""
    draw = torch.Generator().manual_seed(seed)
    made: dict[str, Tensor] = {}

    def norm(name: str, planes: int) -> None:
        for part in ("weight", "bias", "running_mean"):
            made[f"{name}.{part}"] = torch.randn(planes, generator=draw) * 0.1
        made[f"{name}.running_var"] = torch.rand(planes, generator=draw) + 0.5
        made[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def conv(name: str, to: int, of: int, size: int) -> None:
        made[f"{name}.weight"] = torch.randn(to, of, size, size, generator=draw) / (of * size * size) ** 0.5

    conv("conv1", width, channels, 7)
    norm("bn1", width)
    before = width
    for stage, count in enumerate(layers, start=1):
        planes = width * 2 ** (stage - 1)
        for block in range(count):
            name = f"layer{stage}.{block}"
            conv(f"{name}.conv1", planes, before, 3)
            norm(f"{name}.bn1", planes)
            conv(f"{name}.conv2", planes, planes, 3)
            norm(f"{name}.bn2", planes)
            if block == 0 and stage > 1:
                conv(f"{name}.downsample.0", planes, before, 1)
                norm(f"{name}.downsample.1", planes)
            before = planes
    made["fc.weight"] = torch.randn(classes, before, generator=draw)
    made["fc.bias"] = torch.zeros(classes)
    return made


def write(path: Path, **kind: object) -> dict[str, Tensor]:
    """Write one as path's ending says (.pth, .pt, .safetensors); returns its content."""
    tensors = state(**kind)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return tensors
