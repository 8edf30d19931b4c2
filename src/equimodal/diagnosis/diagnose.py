"""`equimodal.diagnose`: what each modality does for the predictions of any PyTorch model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from equimodal.diagnosis.advice import advice
from equimodal.diagnosis.changes import FULL
from equimodal.diagnosis.content import Measured
from equimodal.diagnosis.hooks import Watched, submodule
from equimodal.diagnosis.inputs import Key, Keys, Part, Reader, Style
from equimodal.diagnosis.measures.base import Setting
from equimodal.diagnosis.measures.registry import MEASURES, chosen
from equimodal.diagnosis.report import Diagnosis
from equimodal.diagnosis.restored import restored
from equimodal.diagnosis.runner import Runner
from equimodal.diagnosis.tasks import Kind
from equimodal.diagnosis.training import TrainingMonitor
from equimodal.diagnosis.verdict import judge, tail
from equimodal.errors import UserError

Value = TypeVar("Value")


def diagnose(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    modalities: Sequence[str] | Mapping[str, Keys],
    labels: Key | None = None,
    adapter: Callable[[Any], Any] | None = None,
    call: Style | Callable[[nn.Module, Part], Any] | None = None,
    output: Callable[[Any], Tensor] | None = None,
    task: Kind | None = None,
    measures: Sequence[str] | str | None = None,
    encoders: Mapping[str, str] | None = None,
    layers: Mapping[str, Sequence[str]] | None = None,
    decision: str | tuple[str, Mapping[str, int]] | None = None,
    pool: Callable[[Any], Tensor] | None = None,
    training: TrainingMonitor | None = None,
    device: torch.device | str | None = None,
    seed: int = 0,
    replicates: int = 2000,
    confidence: float = 0.95,
) -> Diagnosis:
    """Measure which modalities a trained model uses, and judge whether it is out of balance (docs/diagnosis.md).

    The model is passed through in evaluation mode without gradient; its parameters, buffers, modes, gradients and
    hooks, and all random generators, are afterwards what they were. It stays on its device; batches are moved there.

    Args:
        model: any module. Give held-out data: on training data every modality looks useful.
        loader: batches, in the same order whenever it is iterated (a shuffling DataLoader is put back before each
            pass). Forms that are understood, and `modalities`, `labels`, `adapter`, `call`: see `inputs.Reader`.
        output: maps what the model returns to logits [B, ...] or values; by default the tensor itself, `.logits`,
            `["logits"]`, or the first of a tuple.
        task: classification (labels [n], logits [n, K], or one logit of two classes), multilabel (zeros and ones
            [n, K]) or regression; None: read from the labels.
        measures: names (`equimodal.diagnosis.measures.registry`), "all", or None for the default set of at most 12
            passes.
        encoders: modality -> submodule whose output is its feature, for `readout`.
        layers: modality -> submodules, shallow to deep, for `probe` and `class-mean`.
        decision: a linear layer whose input is the modalities' features side by side, in their order, for
            `logit-share`; as (name, {modality: width}) where the widths cannot be read from the encoders' outputs.
        pool: maps a submodule's output to [B, C]; by default `hooks.pooled`.
        training: a monitor of the training, whose epochs go into the report.
        device: where batches are moved to; by default where the model's first parameter is.
        seed: of permutations, donors, noise, folds and resamples: equal seeds give equal reports.
        replicates: resamples of the bootstrap.
        confidence: of intervals, and of the verdict's claims together.

    Raises:
        UserError: what cannot be read, called or measured; in one line, with what to do.
    """
    if not 0.5 < confidence < 1:
        raise UserError(f"diagnose: confidence={confidence} is no share between 0.5 and 1")
    reader = Reader(modalities, labels, adapter, call)
    names = reader.modalities
    if replicates * tail(confidence, len(names)) < 1:
        least = int(1 / tail(confidence, len(names))) + 1
        raise UserError(
            f"diagnose: {replicates} replicates are too few for claims at this confidence: at least {least}"
        )
    encoders, layers = _of(encoders, names, "encoders"), _of(layers, names, "layers")
    if any(not line for line in layers.values()):
        raise UserError("diagnose: layers: every modality needs one submodule or more")
    head, given_widths = (decision, None) if decision is None or isinstance(decision, str) else decision
    widths = None if given_widths is None else _of(given_widths, names, "decision")
    for name in encoders.values():
        submodule(model, name, "encoders")
    named = [kind for kind, given in (("encoders", encoders), ("layers", layers), ("decision", head)) if given]
    taken, notes = chosen(measures, names, named)
    seen = [layer for line in layers.values() for layer in line]
    seen += encoders.values() if head is not None and widths is None else []
    watched = Watched(model, seen, head, pool)
    keep = {change for name in taken if MEASURES[name].logits for change in MEASURES[name].changes(names)}
    with restored(model):
        runner = Runner(
            model,
            loader,
            reader,
            task=task,
            output=output,
            encoders=encoders,
            watched=watched,
            device=None if device is None else torch.device(device),
            seed=seed,
            keep=keep,
        )
        if widths is None:
            widths = {} if head is None else {name: watched.outputs[own].shape[1] for name, own in encoders.items()}
        setting = Setting(runner, encoders, layers, head, widths, confidence, replicates, seed)
        doubt = runner.task.doubt(runner.raw)
        notes += [] if doubt is None else [doubt]
        found = []
        for name in taken:
            measure = MEASURES[name]
            refusal = measure.refusal(setting)
            if refusal is not None:
                notes.append(f"{name}: {refusal}")
                continue
            found.append(
                Measured(
                    name=name,
                    title=measure.title,
                    source=measure.source,
                    numbers=measure.numbers,
                    passes=len(measure.changes(names)),
                    axis=measure.axis,
                    entries=measure.compute(setting),
                )
            )
        verdict = judge(setting, found)
        return Diagnosis(
            model=type(model).__name__,
            modalities=list(names),
            task=runner.task.kind,
            score=runner.task.score,
            samples=runner.samples,
            full=setting.estimate(setting.means([runner.run(FULL).scores])[0]),
            confidence=confidence,
            replicates=replicates,
            seed=seed,
            passes=runner.passes,
            measures=found if training is None else [*found, training.measured()],
            verdict=verdict.text,
            findings=verdict.findings,
            advice=advice(verdict.needs),
            notes=notes,
        )


def _of(given: Mapping[str, Value] | None, modalities: Sequence[str], role: str) -> dict[str, Value]:
    """What is given for each modality, in their order; empty where nothing is."""
    if given is None:
        return {}
    if set(given) != set(modalities):
        raise UserError(f"diagnose: {role} names {', '.join(given)}; needed: {', '.join(modalities)}")
    return {name: given[name] for name in modalities}
