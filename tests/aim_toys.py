"""Small frameworks and data for the AIM tests: two or three modalities, convolutions, a list of transformer layers."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from equimodal.methods.aim.method import AIMMethod
from equimodal.methods.aim.settings import AIMSettings
from equimodal.methods.base import Batch, Task
from equimodal.models.encoder import Encoder
from equimodal.models.framework import MultimodalModel
from equimodal.models.fusion import Concat
from equimodal.models.resnet import ResNet
from equimodal.objectives import Classification

CLASSES = 3
FAST = ("aim", "label", "alternate", "some-ride")  # of the variants; training the others is among the slow tests
VARIANTS = {
    "aim": {},
    "no-pam": {"pam": False},
    "no-dam": {"dam": False},
    "label": {"scores": "label"},
    "label-no-pam": {"scores": "label", "pam": False},
    "aux-only": {"original_weight": 0.0},
    "originals-only": {"aux_weight": 0.0},
    "no-task-loss": {"task_loss": False},
    "alternate": {"update": "alternate", "dap_steps": 3},
    "dominant": {"aux_modalities": "dominant"},
    "half": {"aux_fraction": 0.5},
    "aux-seldom": {"aux_every": 2},
    "together": {"rho_norm": "together"},
    "all-statistics": {"statistics": "all", "aux_fraction": 0.5},
    "some-ride": {"ride_fraction": 0.5},
    "fast": {"preset": "fast"},
    "tau-auto": {"tau": "auto"},
    "normalize": {"normalize": True, "tau": 0.2},
    "whole-maps": {"pool": "none"},
    "attached": {"detach_aux_inputs": False},
    "literal-eq-8": {"pdm": {"detach": False, "relative": False}},
    "noise-and-identity": {"dap": {"init": "normal", "decoder": "identity", "recon": "sum", "cls": "fused"}},
    "lambda-0": {"lambda_mod": 0.0},
}


class Tokens(Encoder):
    """Inputs [B, T, 4] through transformer layers; the input projection belongs to the first block."""

    affine_axis = 2

    def __init__(self, width: int = 8, depth: int = 3) -> None:
        super().__init__()
        self.project = nn.Linear(4, width)
        self.layers = nn.ModuleList(
            [nn.TransformerEncoderLayer(width, 2, 16, dropout=0.0, batch_first=True) for _ in range(depth)]
        )
        self.dims = (width,) * depth
        self._blocks = (nn.Sequential(self.project, self.layers[0]), *self.layers[1:])

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        return self._blocks

    def pool(self, maps: Tensor, batch: int) -> Tensor:
        return maps.mean(1)


def shapes(modalities: list[str]) -> dict[str, tuple[int, ...]]:
    """Shape of one input of each toy modality."""
    return {name: {"audio": (1, 8, 9), "visual": (2, 2, 8, 8), "third": (5, 4)}[name] for name in modalities}


def build(modalities: tuple[str, ...] = ("audio", "visual"), classes: int = CLASSES) -> MultimodalModel:
    """A framework with a ResNet of width 4 for sound and pictures and transformer layers for the third modality."""
    torch.manual_seed(0)
    encoders: dict[str, Encoder] = {}
    for name in modalities:
        if name == "third":
            encoders[name] = Tokens()
        else:
            pictures = name == "visual"
            encoders[name] = ResNet(
                2 if pictures else 1, 2 if pictures else None, 4, (1, 1, 1, 1), stem_stride=1, stem_pool=False
            )
    return MultimodalModel(encoders, Concat({name: encoder.dims[-1] for name, encoder in encoders.items()}, classes))


def data(
    modalities: tuple[str, ...], rows: int, seed: int = 0, classes: int = CLASSES
) -> tuple[dict[str, Tensor], Tensor]:
    """Rows of separable toy data: one pattern per class and modality, and noise."""
    pattern = torch.Generator().manual_seed(99)
    means = {
        name: torch.randn((classes, *shape), generator=pattern) for name, shape in shapes(list(modalities)).items()
    }
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=draw)
    return {
        name: mean[labels] + 0.5 * torch.randn((rows, *mean.shape[1:]), generator=draw) for name, mean in means.items()
    }, labels


def class_means(modalities: tuple[str, ...], classes: int = CLASSES) -> dict[str, Tensor]:
    """Mean input of every class."""
    inputs, labels = data(modalities, 200, classes=classes)
    return {name: torch.stack([x[labels == k].mean(0) for k in range(classes)]) for name, x in inputs.items()}


def batches(modalities: tuple[str, ...], size: int = 8) -> Callable[[], Iterator[Batch]]:
    """What AIMMethod.fit asks for."""

    def stream() -> Iterator[Batch]:
        seed = 0
        while True:
            yield Batch(*data(modalities, size, seed))
            seed += 1

    return stream


def warm(model: MultimodalModel, steps: int = 40, lr: float = 0.05) -> None:
    """A few steps of joint training."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    modalities = tuple(model.modalities)
    for step in range(steps):
        inputs, labels = data(modalities, 16, 1000 + step)
        nn.functional.cross_entropy(model(inputs).logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def quick(**changes: Any) -> AIMSettings:
    """Settings whose fits are short, with the weight of L_mod at 1."""
    dap = {"steps": 60, "required_accuracy": 0.0, **changes.pop("dap", {})}
    pdm = {"steps": 3, "latent": 16, "every": 2, **changes.pop("pdm", {})}
    return AIMSettings.read({"lambda_mod": 1.0, "dap": dap, "pdm": pdm, **changes}, "aim")


def make(
    settings: AIMSettings,
    modalities: tuple[str, ...] = ("audio", "visual"),
    model: MultimodalModel | None = None,
    seed: int = 0,
) -> AIMMethod:
    """The method on a toy framework."""
    model = build(modalities) if model is None else model
    return AIMMethod(model, settings, Task(Classification(CLASSES), 4, 5, seed, class_means(modalities)))


class Loop(SimpleNamespace):
    """As much of training.loop.Loop as a step needs: plain SGD with momentum on the framework, no Fabric."""

    def __init__(self, method: Any, batch_size: int = 8) -> None:
        from contextlib import nullcontext

        super().__init__(
            module=method, training=SimpleNamespace(batch_size=batch_size), autocast=nullcontext, processes=1, rate=1.0
        )
        self.optimizer = torch.optim.SGD(method.main_parameters(), lr=0.02, momentum=0.9)

    def optimize(self, loss: Tensor) -> None:
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def train(
    method: Any, epochs: int = 2, steps: int = 3, first: int = 0, loop: Loop | None = None
) -> list[dict[str, float]]:
    """Epochs of the method under the toy loop; the mean of each epoch's logs."""
    loop = Loop(method) if loop is None else loop
    modalities = tuple(method.model.modalities)
    history = []
    for epoch in range(first, first + epochs):
        method.train()
        method.begin_epoch(epoch, loop)
        found: dict[str, list[float]] = {}
        for number in range(steps):
            step = method.training_step(Batch(*data(modalities, 8, 500 + 10 * epoch + number)), loop)
            for name, value in {"loss": step.loss.detach(), **step.logs}.items():
                found.setdefault(name, []).append(float(value))
        history.append(
            {name: sum(values) / len(values) for name, values in found.items()} | method.end_epoch(epoch, loop)
        )
    return history
