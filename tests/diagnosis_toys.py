"""Models that are not ours, trained in a second on generated problems whose imbalance is known."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

NAMES = ("audio", "visual")


class TwoStream(nn.Module):
    """Two convolutional streams and a linear layer on both features, as video models have them (torchvision's style:
    features, average pooling, classifier)."""

    def __init__(self, classes: int = 4, width: int = 8) -> None:
        super().__init__()
        self.audio = self._stream(width)
        self.visual = self._stream(width)
        self.classifier = nn.Linear(2 * width, classes)

    @staticmethod
    def _stream(width: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        logits: Tensor = self.classifier(torch.cat([self.audio(audio), self.visual(visual)], 1))
        return logits


class MLPs(nn.Module):
    """An MLP for each modality of a dict of vectors, and a linear layer on all features."""

    def __init__(self, widths: Mapping[str, int], outputs: int, hidden: int = 16) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(width, hidden), nn.ReLU()) for name, width in widths.items()}
        )
        self.head = nn.Linear(hidden * len(widths), outputs)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        logits: Tensor = self.head(torch.cat([encoder(inputs[name]) for name, encoder in self.encoders.items()], 1))
        return logits


def vectors(
    strengths: Mapping[str, float], samples: int, seed: int, classes: int = 3, width: int = 6
) -> tuple[dict[str, Tensor], Tensor]:
    """Vectors of unit noise around class means of length `strength`, at right angles to each other, and labels."""
    means = torch.Generator().manual_seed(1000)
    drawn = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (samples,), generator=drawn)
    inputs = {}
    for name, strength in strengths.items():
        centres = torch.linalg.qr(torch.randn(width, width, generator=means)).Q[:classes] * strength
        inputs[name] = centres[labels] + torch.randn(samples, width, generator=drawn)
    return inputs, labels


def batches(inputs: Mapping[str, Tensor], labels: Tensor, size: int = 64) -> list[tuple[dict[str, Tensor], Tensor]]:
    """Batches (inputs, labels), in order."""
    return [
        ({name: x[start : start + size] for name, x in inputs.items()}, labels[start : start + size])
        for start in range(0, len(labels), size)
    ]


def train(
    model: nn.Module,
    *inputs: object,
    labels: Tensor,
    loss: object = functional.cross_entropy,
    steps: int = 60,
    lr: float = 0.02,
) -> nn.Module:
    """Full-batch Adam by hand (torch.optim takes seconds to import); in training mode afterwards."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    for step in range(1, steps + 1):
        value = loss(model(*inputs), labels)  # type: ignore[operator]
        gradients = torch.autograd.grad(value, parameters)
        with torch.no_grad():
            for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
                m.mul_(0.9).add_(g, alpha=0.1)
                v.mul_(0.999).addcmul_(g, g, value=0.001)
                p.sub_(lr * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8))
    return model


def snippet(name: str) -> str:
    """The Python block of docs/diagnosis.md that has `name` in it."""
    page = (Path(__file__).parents[1] / "docs/diagnosis.md").read_text(encoding="utf-8")
    (found,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if name in block]
    return found


def loader(*tensors: Tensor, size: int = 64, shuffle: bool = False) -> DataLoader[tuple[Tensor, ...]]:
    """Batches (x_1, ..., x_M, labels)."""
    return DataLoader(TensorDataset(*tensors), batch_size=size, shuffle=shuffle)


def trained(strengths: Mapping[str, float], seed: int = 0, samples: int = 400) -> tuple[MLPs, list]:  # type: ignore[type-arg]
    """A model trained on such vectors, and batches of held-out ones."""
    torch.manual_seed(seed)
    inputs, labels = vectors(strengths, 300, seed=2 * seed + 1)
    model = MLPs({name: x.shape[1] for name, x in inputs.items()}, 3)
    train(model, inputs, labels=labels)
    return model, batches(*vectors(strengths, samples, seed=2 * seed + 2))


class Output:
    """What Hugging Face's models return: logits as an attribute."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class TextImage(nn.Module):
    """A classifier of tokens with their mask and of pictures, called by keywords as Hugging Face's are."""

    def __init__(self, vocabulary: int = 20, classes: int = 3, width: int = 12) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.text_encoder = nn.Linear(width, width)
        self.vision_encoder = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, pixel_values: Tensor) -> Output:
        weights = attention_mask[..., None].float()
        tokens = (self.embedding(input_ids) * weights).sum(1) / weights.sum(1)
        both = torch.cat([self.text_encoder(tokens).relu(), self.vision_encoder(pixel_values)], 1)
        return Output(self.classifier(both))


def text_image_batches(samples: int, seed: int, picture: float, size: int = 50) -> list[dict[str, Tensor]]:
    """Tokens that tell the class (half of them from a class's own six), and pictures with a class's colour of strength
    `picture` in unit noise."""
    drawn = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (samples,), generator=drawn)
    ids = torch.randint(1, 20, (samples, 8), generator=drawn)
    ids[:, ::2] = 1 + 6 * labels[:, None] + torch.randint(6, (samples, 4), generator=drawn)
    mask = (torch.arange(8) < torch.randint(4, 9, (samples, 1), generator=drawn)).long()
    pixels = torch.randn(samples, 3, 6, 6, generator=drawn)
    pixels += picture * functional.one_hot(labels, 3)[:, :, None, None]
    whole = {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels, "labels": labels}
    return [{key: x[start : start + size] for key, x in whole.items()} for start in range(0, samples, size)]


def equal(one: Any, other: Any) -> bool:
    """Whether nested containers hold the same, tensors bit for bit."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return set(one) == set(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)
