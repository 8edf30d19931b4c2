"""A generated stand-in for CMU-MOSI's features: its form and sizes, an opinion told plainly by the words and faintly by
voice and face.

Written as a packaging (a pickle by split) and read back by the reader of the real ones. Every segment draws from a
generator of its own.
"""

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from equimodal.datasets.mosi.settings import MosiSample

WIDTHS = {"text": 300, "audio": 74, "vision": 35}
OPINION = 1.5  # deviation of the labels

# How much of the opinion a step carries beside noise of deviation 1, and in which share of the steps. The numbers are
# tuned so that small transformers learn the words in an epoch or two and voice and face in many (docs/datasets/mosi.md
# has the measured accuracies).
STRENGTH = {"text": 8.0, "audio": 2.2, "vision": 2.2}
TELLING = {"text": 0.25, "audio": 0.5, "vision": 0.5}
SPEAKER = {"text": 0.1, "audio": 0.4, "vision": 0.4}  # deviation of what a speaker's voice and face are like
# What makes fusion worth while: each modality says nothing in its own part of the segments.
SILENT = {"text": 0.25, "audio": 0.1, "vision": 0.1}
WORDLESS = 300  # one segment of so many has no words, and is dropped by the reader's rule


def write(path: Path, settings: "MosiSample") -> None:
    """Generate the packaging and pickle it."""
    splits = {"train": [], "valid": [], "test": []}  # type: dict[str, list[dict[str, Any]]]
    train, valid = max(1, round(0.58 * settings.videos)), max(1, round(0.11 * settings.videos))
    for video in range(settings.videos):
        split = "train" if video < train else "valid" if video < train + valid else "test"
        splits[split] += [_segment(video, segment, settings) for segment in range(settings.segments)]
    content = {
        split: {field: np.stack([segment[field] for segment in segments]) for field in segments[0]}
        for split, segments in splits.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=4))


def _segment(video: int, segment: int, settings: "MosiSample") -> dict[str, Any]:
    """One opinion: its label, and one sequence per modality."""
    generator = _generator(settings.seed, 1, video, segment)
    # Fifths, as five people's whole numbers average; signs take turns, so that every split has both.
    size = np.round(np.clip(abs(generator.normal(0, OPINION)), 0, 3) * 5) / 5
    label = float(size if (video + segment) % 2 else -size)
    fields: dict[str, Any] = {"id": f"sample{video:03d}$_${segment}", "regression_labels": np.float32(label)}
    for name, length in settings.lengths.items():
        steps = int(generator.integers(max(2, length // 3), length + 1))
        values = _sequence(name, label, steps, video, settings, generator)
        padded = np.zeros((length, WIDTHS[name]), np.float32)
        if name == "text":
            wordless = (video * settings.segments + segment) % WORDLESS == WORDLESS - 1
            padded[length - steps :] = 0 if wordless else values  # in front, as MultiBench pads
        else:
            padded[:steps] = values
            fields[f"{name}_lengths"] = steps
        fields[name] = padded
    if segment == 0:
        fields["audio"][0, :2] = -np.inf  # as COVAREP has it where a voice is silent
    return fields


def _sequence(
    name: str, label: float, steps: int, video: int, settings: "MosiSample", generator: np.random.Generator
) -> np.ndarray:
    """[steps, width]: noise, the speaker's own ways, and in some steps the opinion along one direction."""
    width, number = WIDTHS[name], list(WIDTHS).index(name)
    direction = _generator(settings.seed, 2, number, 0).normal(size=width)
    direction *= np.sqrt(width) / np.linalg.norm(direction) / 8  # as strong in narrow features as in wide ones
    values = generator.normal(size=(steps, width)) + SPEAKER[name] * _generator(settings.seed, 3, number, video).normal(
        size=width
    )
    telling = generator.permutation(steps) < max(1, round(TELLING[name] * steps))
    silent = generator.random() < SILENT[name]
    if not silent:
        values[telling] += STRENGTH[name] * label / 3 * direction
    return values.astype(np.float32)


def _generator(seed: int, *numbers: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, *numbers]))
