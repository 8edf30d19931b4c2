"""What named submodules know by depth: a linear probe, and distances to class means with Eq. 14's alpha."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from equimodal.diagnosis.content import Entry
from equimodal.diagnosis.measures.base import Setting
from equimodal.diagnosis.tasks import Kind
from equimodal.evaluation.observe import ClassStatistics
from equimodal.evaluation.probe import fit_linear_probe, fit_probe
from equimodal.models.encoder import aligned_depths
from equimodal.models.framework import Outputs, Stage
from equimodal.objectives import Classification, by_target
from equimodal.seeding import generator

FOLDS = 3
LEAST = 30  # samples
MOST_LABELS = 20
MOST = 3000  # samples that probes and class means look at


def probes(setting: Setting) -> list[Entry]:
    """`score` of a linear probe on each layer, and of a classification `chance`, that of the most frequent class.

    Logistic regression for classes, one for each of several labels; ridge regression for numbers. Three folds: the
    probe is fitted on one, its penalty chosen on another, and the third one's samples are scored, so that every sample
    is scored once by a probe that has not seen it.
    """
    chosen, folds = _folds(setting)
    runner = setting.runner
    labels = runner.labels[chosen]
    rows, places = [], []
    for name, depth, layer in _all_layers(setting):
        x = runner.watched.outputs[layer][chosen]
        rows.append(runner.task.scores(probed(x, labels, folds % FOLDS, runner.task.kind), labels))
        places.append((name, depth, layer))
    found = [
        setting.entry("score", name, mean, at=depth, layer=layer)
        for (name, depth, layer), mean in zip(places, setting.means(rows), strict=True)
    ]
    if runner.task.kind != "classification":
        return found
    common = (labels == labels.bincount().argmax()).double()
    return [*found, setting.entry("chance", "all", setting.means([common])[0])]


def class_means(setting: Setting) -> list[Entry]:
    """`s` of each layer, the mean probability of the true class by distances to class means (Eq. 9 of AIM, distances
    in units of the within-class spread), and `alpha` by depth, its population standard deviation over its mean across
    modalities (Eq. 14).

    Two folds: the class means of one score the samples of the other.
    """
    chosen, folds = _folds(setting)
    labels = setting.runner.labels[chosen].view(len(chosen))
    outputs = {layer: setting.runner.watched.outputs[layer][chosen] for _, _, layer in _all_layers(setting)}
    named = _all_layers(setting)
    rows = [true_class_probability(outputs[layer], labels, folds % 2) for _, _, layer in named]
    means = setting.means(rows)
    entries = [
        setting.entry("s", name, mean, at=depth, layer=layer)
        for (name, depth, layer), mean in zip(named, means, strict=True)
    ]
    by_place = {(name, depth): mean for (name, depth, _), mean in zip(named, means, strict=True)}
    aligned = aligned_depths({name: len(layers) for name, layers in setting.layers.items()})
    for d in range(min(len(layers) for layers in setting.layers.values())):
        s = torch.stack([by_place[name, places[d] + 1] for name, places in aligned.items()])
        entries.append(setting.entry("alpha", "all", s.std(0, unbiased=False) / s.mean(0).clamp_min(1e-12), at=d + 1))
    return entries


def true_class_probability(x: Tensor, labels: Tensor, folds: Tensor) -> Tensor:
    """s [n] of samples x [n, C], the class means and spreads being those of the other of two folds [n] (0 or 1)."""
    objective = Classification(int(labels.max()) + 1)
    found = torch.zeros(len(x), dtype=torch.float64)
    for fold in (0, 1):
        scored, seen = folds == fold, folds != fold
        statistics = ClassStatistics(objective)
        stage = Stage(None, None, x[seen])
        statistics(Outputs(x[seen], {}, {"m": [stage]}), labels[seen])
        spread = statistics.spreads["m"][0]
        distances = torch.cdist(
            x[scored] / spread, statistics.prototypes["m"][0] / spread, compute_mode="donot_use_mm_for_euclid_dist"
        )
        # A class that the fold has no sample of has no mean
        distances[:, labels[seen].bincount(minlength=objective.classes) == 0] = math.inf
        found[scored] = by_target(torch.softmax(-distances, 1), labels[scored])
    return found


def _all_layers(setting: Setting) -> list[tuple[str, float, str]]:
    return [(name, depth, layer) for name, layers in setting.layers.items() for depth, layer in enumerate(layers, 1)]


def _folds(setting: Setting) -> tuple[Tensor, Tensor]:
    """Places of at most MOST samples, and the fold of each, 0 to 2 FOLDS - 1 (by turns, over a random order)."""
    drawn = generator(setting.seed, "folds")
    order = torch.randperm(setting.runner.samples, generator=drawn)[:MOST]
    return order, torch.arange(len(order)) % (2 * FOLDS)


def probed(x: Tensor, labels: Tensor, folds: Tensor, kind: Kind) -> Tensor:
    """What probes of x [n, C] put out for each sample, as the model would: logits [n, K], or values.

    Args:
        labels: class ids [n], or zeros and ones or values [n] or [n, K].
        folds: [n], 0 to FOLDS - 1; a fold's probe is fitted on the next fold, its penalty chosen on the one after.
    """
    if kind == "classification":
        return _classes(x, labels, folds, int(labels.max()) + 1)
    columns = labels.reshape(len(labels), -1).unbind(1)
    if kind == "multilabel":
        both = [_classes(x, column.long(), folds, 2) for column in columns]
        return torch.stack([logits[:, 1] - logits[:, 0] for logits in both], 1)
    found = torch.zeros(len(x), len(columns), dtype=torch.float64)
    for place, column in enumerate(columns):
        for train, validation, test in _splits(folds):
            value = fit_linear_probe((x[train], column[train]), (x[validation], column[validation]))
            found[test, place] = value.predict(x[test])
    return found


def _classes(x: Tensor, labels: Tensor, folds: Tensor, classes: int) -> Tensor:
    found = torch.zeros(len(x), classes, dtype=torch.float64)
    for train, validation, test in _splits(folds):
        probe = fit_probe((x[train], labels[train]), (x[validation], labels[validation]), classes)
        found[test] = functional.one_hot(probe.predict(x[test]), classes).double()
    return found


def _splits(folds: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Training, validation and test samples [n] of each fold's probe."""
    return [(folds == (fold + 1) % FOLDS, folds == (fold + 2) % FOLDS, folds == fold) for fold in range(FOLDS)]


def no_probe(setting: Setting) -> str | None:
    """Every label has a probe of its own."""
    runner = setting.runner
    each = 1 if runner.task.kind == "classification" else runner.labels.numel() // runner.samples
    return f"{each} labels a sample are more than {MOST_LABELS}" if each > MOST_LABELS else _too_few(setting)


def no_classes(setting: Setting) -> str | None:
    """Class means are of classes."""
    return "class means need classes" if setting.runner.task.kind != "classification" else _too_few(setting)


def _too_few(setting: Setting) -> str | None:
    return f"fewer than {LEAST} samples" if setting.runner.samples < LEAST else None
