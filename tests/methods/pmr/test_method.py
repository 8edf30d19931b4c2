"""PMR by its formulas: prototypes, coefficients, the two prototypical terms and what they leave alone."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import aim_toys
import tiny_dataset
from equimodal.errors import UserError
from equimodal.methods.base import SplitFeatures, Task
from equimodal.methods.pmr.method import PMR, coefficients, leading, prototypical
from equimodal.methods.pmr.settings import PMRSettings
from equimodal.objectives import Classification
from equimodal.stages import train
from equimodal.training.loop import Loop
from tiny_method import goes_on_bit_for_bit, learned, loop_of

WHOLE = {"window": [0.0, 1.0], "entropy_share": 1.0}
SEQUENCES = ("audio", "text", "face")


def params(
    third: bool | tuple[str, ...] = False,
    training: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    methods = {"pmr": {**WHOLE, **settings}, "aim": {"start_epoch": 0}}
    return tiny_dataset.params(third, training=training or {}, model=model or {}, methods=methods)


def loop(folder: str, own: Any) -> Loop:
    return loop_of(folder, own, "pmr")


def weakest(scores: list[float]) -> int:
    return min(range(len(scores)), key=scores.__getitem__)


def reference_coefficients(scores: list[float], binary: bool) -> list[float]:
    """The specification's words, in NumPy: rho against the mean of the others, clip(1 / rho - 1, 0, 1)."""
    s = np.array(scores)
    rho = np.array([s[m] / np.mean(np.delete(s, m)) for m in range(len(s))])
    if binary:
        return [float(m == weakest(scores) and rho[m] < 1) for m in range(len(s))]
    return [float(np.clip(1 / r - 1, 0, 1)) for r in rho]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    "scores", [[9.0, 8.0], [3.0, 9.0], [6.0, 9.0], [5.0, 2.0, 1.0], [4.0, 4.5, 4.9], [3.0, 1.0, 1.0]]
)
def test_coefficients_are_the_papers(scores: list[float], binary: bool) -> None:
    beta = coefficients(torch.tensor(scores, dtype=torch.float64), binary)
    assert beta.tolist() == pytest.approx(reference_coefficients(scores, binary), abs=1e-12)
    assert torch.allclose(coefficients(7 * torch.tensor(scores, dtype=torch.float64), binary), beta), "only ratios"
    if len(scores) == 2:  # beta and gamma as the paper writes them, of rho = s^1 / s^2
        rho = scores[0] / scores[1]
        paper = [min(max(0, 1 / rho - 1), 1), min(max(0, rho - 1), 1)]
        assert binary or beta.tolist() == pytest.approx(paper, abs=1e-12)
    leads = [float(s > (sum(scores) - s) / (len(scores) - 1)) for s in scores]
    assert leading(torch.tensor(scores)).tolist() == leads


@pytest.mark.parametrize("count", [2, 3])
def test_equal_scores_stimulate_nobody_but_in_the_released_code_the_first(count: int) -> None:
    equal = torch.full((count,), 1 / 4)
    for binary in (False, True):
        assert coefficients(equal, binary).tolist() == [0.0] * count
    assert coefficients(equal, True, released=True).tolist() == [1.0] + [0.0] * (count - 1)
    assert leading(equal).tolist() == [0.0] * count
    apart = torch.tensor([3.0, 1.0, 4.0][:count])
    assert coefficients(apart, True, released=True).tolist() == [0.0, 1.0, 0.0][:count]
    assert coefficients(torch.zeros(count)).tolist() == [0.0] * count, "no score, no NaN"


def test_equal_prototypes_say_nothing() -> None:
    """Identity 6 of methods.md 26: cross entropy log K, ratio 1, coefficients 0."""
    torch.manual_seed(0)
    features = {"audio": torch.randn(6, 5), "visual": torch.randn(6, 3)}
    same = tuple(torch.randn(1, z.shape[1]).expand(4, -1) for z in features.values())
    log_p = prototypical(features, same, torch.ones(4, dtype=torch.bool))
    torch.testing.assert_close(-log_p, torch.full((2, 6, 4), float(np.log(4))))
    scores = log_p[:, :, 0].exp().mean(1)
    assert coefficients(scores).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_the_distribution_is_over_euclidean_distances_to_classes_that_have_samples() -> None:
    draw = np.random.default_rng(0)
    z, c = draw.normal(size=(5, 4)), draw.normal(size=(3, 4))
    apart = np.sqrt(((z[:, None] - c[None]) ** 2).sum(-1))
    for there in ([0, 1, 2], [0, 2]):
        expected = np.exp(-apart[:, there])
        expected /= expected.sum(1, keepdims=True)
        seen = torch.zeros(3, dtype=torch.bool)
        seen[there] = True
        found = prototypical({"audio": torch.from_numpy(z)}, (torch.from_numpy(c),), seen)[0]
        np.testing.assert_allclose(found.exp().numpy()[:, there], expected, rtol=1e-6)
        assert not found.exp()[:, [k for k in range(3) if k not in there]].any()


def test_a_feature_on_its_prototype_has_a_finite_gradient() -> None:
    z = torch.ones(2, 4, requires_grad=True)
    seen = torch.tensor([True, True, False])
    log_p = prototypical({"audio": z}, (torch.stack([torch.ones(4), torch.zeros(4), torch.ones(4)]),), seen)
    entropy = -(log_p.exp() * log_p).sum(2).mean(1)
    (log_p[0, :, 0].mean() + entropy.sum()).backward()
    assert entropy.isfinite().all() and z.grad is not None and z.grad.isfinite().all()


def softmax(u: Any) -> Any:
    e = np.exp(u - u.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("fusion", "third", "settings"),
    [
        ("concat", False, {}),
        ("concat", True, {}),
        ("concat", True, {"coefficients": "binary", "entropy_weight": 0.3}),
        ("gated", False, {"variant": "released"}),
        ("sum", True, {"variant": "released", "alpha": 0.7}),
    ],
)
def test_the_loss_is_the_papers(tiny: Path, fusion: str, third: bool, settings: dict[str, Any]) -> None:
    """L = CE + alpha sum beta PCE - mu sum_{leading} H, in NumPy, from the model's outputs alone."""
    tiny_dataset.write(tiny, third=third)
    run = loop("run", params(third, model={"fusion": fusion}, **settings))
    method, batch = run.method, next(iter(run.batches(0)))
    assert isinstance(method, PMR)
    method.train()
    method.begin_epoch(0, run)
    method._update(run)
    found = run.features("train")
    labels = found.labels.numpy()
    out = copy.deepcopy(method.model)(batch.inputs)  # a copy: batch normalisation counts passes
    step = method(batch)

    y = batch.labels.numpy()
    expected = float(functional.cross_entropy(out.logits.detach(), batch.labels))
    scores, pce, entropy = [], [], []
    for name in tiny_dataset.names(third):
        z = found.features[name].numpy().astype(np.float64)
        c = np.stack([z[labels == k].mean(0) for k in range(3)])
        own = out.features[name].detach().numpy()
        p = softmax(-np.linalg.norm(own[:, None] - c[None], axis=-1))
        scores.append(p[np.arange(16), y].sum())
        pce.append(-np.log(p[np.arange(16), y]).mean())
        entropy.append(-(p * np.log(p)).sum(1).mean())
    released = settings.get("variant") == "released"
    alpha, mu = settings.get("alpha", 2.0), settings.get("entropy_weight", 0.0 if released else 1.0)
    beta = reference_coefficients(scores, released or settings.get("coefficients") == "binary")
    expected += alpha * sum(b * loss for b, loss in zip(beta, pce, strict=True))
    leads = [s > (sum(scores) - s) / (len(scores) - 1) for s in scores]
    expected -= mu * sum(h for h, ahead in zip(entropy, leads, strict=True) if ahead)
    assert sum(beta) > 0 and any(leads)
    assert float(step.loss.detach()) == pytest.approx(expected, rel=1e-5)
    for name, score, coefficient in zip(tiny_dataset.names(third), scores, beta, strict=True):
        assert float(step.logs[f"{name}/score"]) == pytest.approx(score / 16, rel=1e-5)
        assert float(step.logs[f"{name}/coefficient"]) == pytest.approx(coefficient, rel=1e-3, abs=1e-6)


def test_prototypes_and_coefficients_are_constants_and_only_lagging_encoders_feel_them(tiny: Path) -> None:
    run = loop("run", params(entropy_weight=0.0, coefficients="binary"))
    method, batch = run.method.train(), next(iter(run.batches(0)))
    assert isinstance(method, PMR)
    method.begin_epoch(0, run)
    method._update(run)
    plain, own = copy.deepcopy(method.model), method
    functional.cross_entropy(plain(batch.inputs).logits, batch.labels).backward()
    step = own(batch)
    step.loss.backward()
    assert not method.prototypes.requires_grad and len(list(method.parameters())) == len(list(plain.parameters()))
    for (name, mine), other in zip(method.model.named_parameters(), plain.parameters(), strict=True):
        assert mine.grad is not None and other.grad is not None
        lags = name.startswith("encoders") and float(step.logs[f"{name.split('.')[1]}/coefficient"]) > 0
        assert torch.equal(mine.grad, other.grad) != lags, name


def test_the_gradient_takes_coefficients_as_constants(tiny: Path) -> None:
    run = loop("run", params())
    method, batch = run.method.train(), next(iter(run.batches(0)))
    assert isinstance(method, PMR)
    method.begin_epoch(0, run)
    method._update(run)
    plain = copy.deepcopy(method.model)
    step = method(batch)
    step.loss.backward()
    out = plain(batch.inputs)
    loss = functional.cross_entropy(out.logits, batch.labels)
    scores = [float(step.logs[f"{name}/score"]) for name in ("audio", "visual")]
    for place, (z, c) in enumerate(zip(out.features.values(), method.prototypes.split([32, 32], 1), strict=True)):
        p = (-(z[:, None] - c[None]).norm(dim=2)).softmax(1)
        loss = loss + 2.0 * reference_coefficients(scores, False)[place] * functional.nll_loss(p.log(), batch.labels)
        loss = loss - float(scores[place] > scores[1 - place]) * -(p * p.log()).sum(1).mean()
    loss.backward()
    assert 0 < float(step.logs["visual/coefficient"]) + float(step.logs["audio/coefficient"]) < 1, "not at the clip"
    for (name, mine), other in zip(method.model.named_parameters(), plain.parameters(), strict=True):
        assert mine.grad is not None and other.grad is not None
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_prototypes_are_class_means_that_move_by_the_momentum() -> None:
    model = aim_toys.build()
    dims = model.fusion.dims
    method = PMR(model, PMRSettings(prototype_momentum=0.25), Task(Classification(3), 4, 5, 0))

    def split(shift: float) -> SplitFeatures:
        draw = torch.Generator().manual_seed(3)
        z = {name: torch.randn(5, width, generator=draw) + shift for name, width in dims.items()}
        return SplitFeatures(z, {}, torch.zeros(5, 3), torch.tensor([0, 0, 2, 2, 2]))

    means = {}
    for shift in (0.0, 1.0):
        found = split(shift)
        joined = torch.cat([found.features[name] for name in dims], 1)
        means[shift] = torch.stack([joined[:2].mean(0), torch.zeros(joined.shape[1]), joined[2:].mean(0)])
    trainer: Any = SimpleNamespace(features=lambda name: split(0.0) if name == "train" else None)
    method._update(trainer)
    torch.testing.assert_close(method.prototypes, means[0.0])
    assert method.seen.tolist() == [True, False, True], "a class without samples takes no part"
    trainer = SimpleNamespace(features=lambda name: split(1.0))
    method._update(trainer)
    torch.testing.assert_close(method.prototypes, 0.75 * means[1.0] + 0.25 * means[0.0])


def test_prototypes_are_updated_once_an_epoch_within_the_window_alone(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates: list[int] = []
    plain = PMR._update

    def counting(self: PMR, trainer: Any) -> None:
        updates.append(trainer.progress.epoch)
        plain(self, trainer)

    monkeypatch.setattr(PMR, "_update", counting)
    run = loop("run", params(training={"epochs": 4}, window=[0.25, 0.75]))
    history = run.run().history
    assert updates == [1, 2]
    assert ["audio/score" in entry["metrics"] for entry in history] == [False, True, True, False]


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_no_strength_is_joint_bit_for_bit(tiny: Path, variant: str) -> None:
    own = params(alpha=0.0, entropy_weight=0.0, variant=variant, training={"epochs": 2})
    for name in ("joint", "pmr"):
        train.run(own, "tiny", name, 0)
    for file in ("val", "last", "test"):
        assert learned(Path(f"models/tiny/joint/0/{file}.safetensors")) == learned(
            Path(f"models/tiny/pmr/0/{file}.safetensors")
        )


def test_window_and_entropy_count_shares_of_the_run() -> None:
    def method(epochs: int, **settings: Any) -> PMR:
        return PMR(aim_toys.build(), PMRSettings(**settings), Task(Classification(3), epochs, 5, 0))

    def weights(made: PMR, epochs: int) -> list[tuple[float, float]]:
        found = []
        for epoch in range(epochs):
            made.begin_epoch(epoch, SimpleNamespace())  # type: ignore[arg-type]
            found.append((made._alpha, made._mu))
        return found

    assert list(method(130)._window) == list(range(70)) and list(method(130, variant="released")._window)[-1] == 70
    assert weights(method(10, window=(0, 0.5), entropy_share=0.2), 10) == [(2, 1)] * 2 + [(2, 0)] * 3 + [(0, 0)] * 5
    assert weights(method(3, window=(0.4, 1), entropy_share=1), 3) == [(0, 0)] + [(2, 1)] * 2
    assert weights(method(2, variant="released"), 2) == [(2, 0)] * 2
    assert weights(method(2, variant="released", entropy_weight=0.5, entropy_share=1), 2) == [(2, 0.5)] * 2
    with pytest.raises(UserError, match=r"window \(0.5, 0.2\) must be two shares of the run"):
        params(window=[0.5, 0.2])
    with pytest.raises(UserError, match=r"methods.pmr.prototype_momentum"):
        params(prototype_momentum=1.0)


@pytest.mark.parametrize("third", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_broken_run_goes_on_bit_for_bit(tiny: Path, third: bool) -> None:
    tiny_dataset.write(tiny, third=third)
    own = params(third, training={"epochs": 3})
    second = goes_on_bit_for_bit(lambda folder: loop(folder, own))
    metrics = second.progress.history[-1]["metrics"]
    names = tiny_dataset.names(third)
    assert all(0 < metrics[f"{name}/score"] < 1 and 0 <= metrics[f"{name}/coefficient"] <= 1 for name in names)
    assert max(metrics[f"{name}/coefficient"] for name in names) > 0


def test_padded_sequences_beside_sound(tiny: Path) -> None:
    tiny_dataset.write(tiny, third=SEQUENCES)
    run = loop("run", params(SEQUENCES, training={"epochs": 2}))
    metrics = run.run().history[-1]["metrics"]
    assert len(set(run.method.model.fusion.dims.values())) > 1
    assert all(0 < metrics[f"{name}/score"] < 1 for name in SEQUENCES)
