"""What named submodules know by depth: a linear probe, and distances to class means with Eq. 14's alpha."""

import math

import torch
from torch import Tensor

from equimodal.diagnosis.content import Entry
from equimodal.diagnosis.measures.base import Setting
from equimodal.evaluation.observe import ClassStatistics
from equimodal.evaluation.probe import fit_linear_probe, fit_probe
from equimodal.models.encoder import aligned_depths
from equimodal.models.framework import Outputs, Stage
from equimodal.objectives import Classification, by_target
from equimodal.seeding import generator

FOLDS = 3
LEAST = 30  # samples
MOST = 3000  # samples that probes and class means look at


def probes(setting: Setting) -> list[Entry]:
    """`score` of a linear probe on each layer, and `chance`: of the most frequent class, or 0 of a regression.

    Three folds: the probe is fitted on one, its penalty chosen on another, and the third one's samples are scored, so
    that every sample is scored once by a probe that has not seen it.
    """
    chosen, folds = _folds(setting)
    runner = setting.runner
    labels = runner.labels[chosen].view(len(chosen))
    rows, places = [], []
    for name, depth, layer in _all_layers(setting):
        x = runner.watched.outputs[layer][chosen]
        rows.append(_probed(x, labels, folds, runner.task.kind == "regression"))
        places.append((name, depth, layer))
    found = [
        setting.entry("score", name, mean, at=depth, layer=layer)
        for (name, depth, layer), mean in zip(places, setting.means(rows), strict=True)
    ]
    if runner.task.kind == "regression":
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


def _probed(x: Tensor, labels: Tensor, folds: Tensor, numbers: bool) -> Tensor:
    scores = torch.zeros(len(x), dtype=torch.float64)
    for fold in range(FOLDS):
        train, validation, test = (folds % FOLDS == (fold + shift) % FOLDS for shift in (1, 2, 0))
        if numbers:
            truth = labels.double()
            value = fit_linear_probe((x[train], truth[train]), (x[validation], truth[validation]))
            error = (value.predict(x[test]) - truth[test]).square()
            scores[test] = 1 - error / truth.var(unbiased=False)
        else:
            classes = int(labels.max()) + 1
            probe = fit_probe((x[train], labels[train]), (x[validation], labels[validation]), classes)
            scores[test] = (probe.predict(x[test]) == labels[test]).double()
    return scores


def no_probe(setting: Setting) -> str | None:
    """Probes are of classes, or of one number."""
    kind = setting.runner.task.kind
    if kind == "multilabel" or setting.runner.labels.numel() != setting.runner.samples:
        return "probes are for classes or one number a sample"
    return _too_few(setting)


def no_classes(setting: Setting) -> str | None:
    """Class means are of classes."""
    return "class means need classes" if setting.runner.task.kind != "classification" else _too_few(setting)


def _too_few(setting: Setting) -> str | None:
    return f"fewer than {LEAST} samples" if setting.runner.samples < LEAST else None
