"""OGM and OGM-GE by their formulas, and what they leave alone."""

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
from equimodal.methods.base import Batch, Task
from equimodal.methods.ogm.method import OGM, coefficients, modulated, true_class_scores
from equimodal.methods.ogm.settings import OGMSettings
from equimodal.objectives import Classification
from equimodal.stages import train
from equimodal.store import read_json
from equimodal.training.loop import Loop
from tiny_method import goes_on_bit_for_bit, learned, loop_of, opened, warned_of

TRAINER: Any = SimpleNamespace(device="cpu", processes=1, total=lambda value: value)
WHOLE = {"window": [0.0, 1.0]}


def params(
    third: bool | tuple[str, ...] = False,
    training: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    methods = {"ogm": {**WHOLE, **settings}, "ogm-ge": {"base": "ogm", "ge": True}, "aim": {"start_epoch": 0}}
    return tiny_dataset.params(third, training=training or {}, model=model or {}, methods=methods)


def made(
    name: str = "ogm", third: bool | tuple[str, ...] = False, model: dict[str, Any] | None = None, **settings: Any
) -> tuple[OGM, Batch]:
    method, batch = opened(params(third, model=model, **settings), name)
    assert isinstance(method, OGM)
    return method, batch


def gradients(method: OGM, batch: Batch, epoch: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(gradients of plain cross entropy, those after the method's edit) by parameter name."""
    method.train()
    method.begin_epoch(epoch, TRAINER)
    method(batch).loss.backward()
    before = {name: p.grad.clone() for name, p in method.model.named_parameters() if p.grad is not None}
    method.after_backward(TRAINER)
    return before, {name: p.grad.clone() for name, p in method.model.named_parameters() if p.grad is not None}


def reference(scores: list[float], alpha: float) -> list[float]:
    """Eq. 10 of the paper in NumPy, and its generalisation to more modalities."""
    s = np.array(scores)
    rho = np.array([s[m] / np.mean(np.delete(s, m)) for m in range(len(s))])
    return [float(1 - np.tanh(alpha * r)) if r > 1 else 1.0 for r in rho]


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.8, 2.6])
@pytest.mark.parametrize("scores", [[9.0, 3.0], [3.0, 9.0], [5.0, 2.0, 1.0], [4.0, 4.5, 4.9]])
def test_coefficients_are_the_papers(scores: list[float], alpha: float) -> None:
    k = coefficients(torch.tensor(scores, dtype=torch.float64), alpha)
    assert k.tolist() == pytest.approx(reference(scores, alpha), abs=1e-12)
    assert torch.allclose(coefficients(7 * torch.tensor(scores, dtype=torch.float64), alpha), k, rtol=1e-12), (
        "only ratios count"
    )


@pytest.mark.parametrize("count", [2, 3])
def test_equal_scores_damp_nobody_but_in_the_released_code_the_first(count: int) -> None:
    equal = torch.full((count,), 1 / 3)
    assert coefficients(equal, 0.8).tolist() == [1.0] * count
    assert coefficients(equal, 0.8, released=True).tolist() == pytest.approx([1 - np.tanh(0.8)] + [1.0] * (count - 1))
    apart = torch.tensor([3.0, 4.0, 1.0][:count])
    assert torch.equal(coefficients(apart, 0.8, released=True), coefficients(apart, 0.8))


def test_a_modality_without_any_score_makes_no_nan() -> None:
    assert coefficients(torch.tensor([0.0, 0.0]), 0.8).tolist() == [1.0, 1.0]
    assert coefficients(torch.tensor([1.0, 0.0]), 0.0).tolist() == [1.0, 1.0]
    assert coefficients(torch.tensor([1.0, 0.0]), 0.8).tolist() == [0.0, 1.0]


def test_scores_read_concat_by_its_weights_and_half_the_bias(tiny: Path) -> None:
    method, batch = made()
    z = method.model.eval()(batch.inputs).features
    linear = method.model.fusion.linear
    torch.nn.init.normal_(linear.bias)
    weights = linear.weight.detach().numpy()
    width = z["audio"].shape[1]
    for name, block in (("audio", weights[:, :width]), ("visual", weights[:, width:])):
        u = z[name].detach().numpy() @ block.T + linear.bias.detach().numpy() / 2
        p = np.exp(u) / np.exp(u).sum(1, keepdims=True)
        found = true_class_scores(method.model.readout(z), batch.labels).detach()[["audio", "visual"].index(name)]
        assert float(found) == pytest.approx(p[np.arange(len(u)), batch.labels.numpy()].sum(), rel=1e-5)


@pytest.mark.parametrize("fusion", ["concat", "sum", "film", "gated"])
def test_a_step_scales_kernels_of_the_leading_encoder_alone(tiny: Path, fusion: str) -> None:
    method, batch = made(model={"fusion": fusion})
    before, after = gradients(method, batch)
    method.train()
    out = method.model(batch.inputs)
    fused = method.model.fusion
    if fusion in ("concat", "sum"):
        alone = fused.readout(out.features)
    else:  # no weights to split: the other feature is zero
        zero = {name: torch.zeros_like(z) for name, z in out.features.items()}
        alone = {name: fused({**zero, name: z}) for name, z in out.features.items()}
    s = [float(functional.softmax(u.detach(), 1)[torch.arange(16), batch.labels].sum()) for u in alone.values()]
    k = dict(zip(alone, reference(s, 0.8), strict=True))
    assert sorted(k.values())[0] < 0.7 and sorted(k.values())[1] == 1.0
    kernels = 0
    for name, gradient in before.items():
        owner = name.split(".")[1] if name.startswith("encoders") else ""
        factor = k[owner] if owner and gradient.dim() == 4 else 1.0
        kernels += factor != 1.0
        torch.testing.assert_close(after[name], gradient * factor, rtol=1e-4, atol=0)
        assert factor != 1.0 or torch.equal(after[name], gradient)
    assert kernels > 5
    assert method.end_epoch(0, TRAINER) == pytest.approx({f"{name}/k": value for name, value in k.items()}, rel=1e-4)


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_noise_has_no_mean_and_the_width_of_the_unscaled_gradient(tiny: Path, variant: str) -> None:
    method, batch = made("ogm-ge", variant=variant)
    state = torch.get_rng_state()
    before, after = gradients(method, batch)
    assert torch.equal(torch.get_rng_state(), state), "noise takes nothing from the global generator"
    k = {name.removesuffix("/k"): value for name, value in method.end_epoch(0, TRAINER).items()}
    draws, noisy = [], 0
    for name, gradient in before.items():
        noise = after[name] - gradient
        if not name.startswith("encoders") or gradient.dim() != 4:
            assert not noise.any(), name
            continue
        noise = after[name] - gradient * k[name.split(".")[1]]
        draws.append((noise / gradient.std()).flatten())
        noisy += 1
    drawn = torch.cat(draws).double()
    assert noisy == sum(len(modulated(encoder, "conv4d")) for encoder in method.model.encoders.values())
    assert float(drawn.mean()) == pytest.approx(0, abs=4 / len(drawn) ** 0.5) and float(drawn.std()) == pytest.approx(
        1, abs=4 / len(drawn) ** 0.5
    )


def test_alpha_zero_is_joint_bit_for_bit(tiny: Path) -> None:
    for variant in ("paper", "released"):
        own = params(alpha=0.0, variant=variant, training={"epochs": 2})
        for name in ("joint", "ogm"):
            train.run(own, "tiny", name, 0)
        for file in ("val", "last", "test"):
            assert learned(Path(f"models/tiny/joint/0/{file}.safetensors")) == learned(
                Path(f"models/tiny/ogm/0/{file}.safetensors")
            )


def test_the_window_counts_shares_of_the_run(tiny: Path) -> None:
    def epochs(count: int, **settings: Any) -> list[int]:
        method = OGM(aim_toys.build(), OGMSettings(**settings), Task(Classification(3), count, 5, 0))
        return [epoch for epoch in range(count) if epoch in method._window]

    assert epochs(100) == list(range(50)) and epochs(100, variant="released") == list(range(51))
    assert epochs(12, window=(0.25, 0.75)) == list(range(3, 9)) and epochs(10, window=(0, 0.7)) == list(range(7))
    assert epochs(1) == [0] and epochs(3, window=(0, 1), variant="released") == [0, 1, 2]
    method, batch = made(window=[0.5, 1.0])
    before, after = gradients(method, batch, epoch=0)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert method.end_epoch(0, TRAINER) == {"audio/k": 1.0, "visual/k": 1.0}
    with pytest.raises(UserError, match=r"window \(0.5, 0.2\) must be two shares of the run"):
        params(window=[0.5, 0.2])


def test_the_filter_follows_the_kind_of_encoder() -> None:
    model = aim_toys.build(("audio", "third"))
    kernels, matrices = (modulated(model.encoders[name], "auto") for name in ("audio", "third"))
    assert kernels and all(p.dim() == 4 for p in kernels) and matrices and all(p.dim() == 2 for p in matrices)
    assert modulated(model.encoders["third"], "conv4d") == []
    assert len(modulated(model.encoders["audio"], "all")) == len(list(model.encoders["audio"].parameters()))


@pytest.mark.parametrize(("optimizer", "warned"), [("sgd", False), ("adam", True), ("adamw", True)])
def test_optimizers_that_undo_it_are_named(
    tiny: Path, caplog: pytest.LogCaptureFixture, optimizer: str, warned: bool
) -> None:
    said = warned_of(optimizer, opened(params(), "ogm")[0], caplog)
    assert [f"{optimizer} divides a constant factor" in line for line in said] == [True] * warned


def test_a_filter_that_takes_nothing_is_named(caplog: pytest.LogCaptureFixture) -> None:
    method = OGM(aim_toys.build(("audio", "third")), OGMSettings(variant="released"), Task(Classification(3), 2, 5, 0))
    assert warned_of("sgd", method, caplog) == [
        "ogm: the encoder of 'third' has no parameter that param_filter = conv4d takes: it is not modulated"
    ]


@pytest.mark.parametrize("third", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_broken_run_goes_on_bit_for_bit(tiny: Path, third: bool) -> None:
    tiny_dataset.write(tiny, third=third)
    own = params(third, training={"epochs": 3})

    def loop(folder: str) -> Loop:
        return loop_of(folder, own, "ogm-ge")

    second = goes_on_bit_for_bit(loop)
    metrics = second.progress.history[-1]["metrics"]
    assert all(
        0 < metrics[f"{name}/score"] < 1 and 0 <= metrics[f"{name}/k"] <= 1 for name in tiny_dataset.names(third)
    )
    assert min(metrics[f"{name}/k"] for name in tiny_dataset.names(third)) < 1


def test_transformers_on_padded_sequences_are_modulated_in_their_matrices(tiny: Path) -> None:
    tiny_dataset.write(tiny, third=("audio", "text", "face"))
    method, batch = made("ogm-ge", third=("audio", "text", "face"))
    before, after = gradients(method, batch)
    for name, gradient in before.items():
        encoder = name.startswith("encoders") and gradient.dim() >= (4 if name.startswith("encoders.audio") else 2)
        assert torch.equal(after[name], gradient) != encoder, name
    assert all(value.isfinite().all() for value in after.values())


def test_noise_is_of_the_seed_and_the_epoch(tiny: Path) -> None:
    found = {}
    for name, seed in (("ogm", 0), ("ogm-ge", 0), ("ogm-ge", 1)):
        train.run(params(training={"epochs": 1}), "tiny", name, seed)
        found[name, seed] = read_json(Path(f"models/tiny/{name}/{seed}/curves.json"))["epochs"][0]["metrics"][
            "train/loss"
        ]
    assert len(set(found.values())) == 3
    method, _ = made("ogm-ge")
    drawn = []
    for epoch in (0, 1, 0):
        method.begin_epoch(epoch, TRAINER)
        gradient = torch.ones(1000)
        gradient[:500] = -1
        method._modulate(gradient, torch.tensor(1.0))
        drawn.append(gradient)
    assert torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], drawn[1])
