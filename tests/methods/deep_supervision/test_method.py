"""What deep-uni and aim-means share: loss and logs against a computation in NumPy, weights, depths, resuming."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import aim_toys
import tiny_dataset
from equimodal.engines.layout import model_folder
from equimodal.errors import UserError
from equimodal.methods.base import Batch, Task
from equimodal.methods.deep_supervision.method import DeepSupervision, FeatureNorm
from equimodal.methods.registry import METHODS
from equimodal.models.framework import Outputs
from equimodal.models.padded import Padded
from equimodal.objectives import Classification
from equimodal.stages import train
from equimodal.stages.setup import Setup
from equimodal.store import read_json, read_tensors
from equimodal.training.loop import Loop
from tiny_method import learned

NAMES = ("deep-uni", "aim-means")
LOPSIDED = ("facts", "text")  # an MLP of two blocks and a transformer of three


class Steps(SimpleNamespace):
    """As much of the loop as a step needs: plain SGD, one process."""

    def __init__(self, method: Any) -> None:
        super().__init__(module=method, optimizer=torch.optim.SGD(method.main_parameters(), lr=0.1))

    def optimize(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def total(self, value: Tensor) -> Tensor:
        return value


def setup(name: str, third: bool | tuple[str, ...] = False, **settings: Any) -> Setup:
    model = {"transformer": {"dropout": 0.0}}
    return Setup.open(tiny_dataset.params(third, methods={name: settings}, model=model), "tiny", name, 0)


def made(name: str, third: bool | tuple[str, ...] = False, **settings: Any) -> DeepSupervision:
    """The method in double precision, training."""
    method = setup(name, third, **settings).method().double().train()
    assert isinstance(method, DeepSupervision)
    return method


def batches(third: bool | tuple[str, ...] = False) -> list[Batch]:
    """The training split of the tiny dataset in double precision, 16 samples each, in its order."""
    found = []
    for inputs, labels in setup("joint", third).data.evaluation_batches("train", 16):
        doubled = {
            m: Padded(x.values.double(), x.mask) if isinstance(x, Padded) else x.double() for m, x in inputs.items()
        }
        found.append(Batch(doubled, labels))
    return found


def log_softmax(u: Any) -> Any:
    u = u - u.max(1, keepdims=True)
    return u - np.log(np.exp(u).sum(1, keepdims=True))


def nll(log_p: Any, y: Any) -> float:
    return float(-log_p[np.arange(len(y)), y].mean())


def normalised(x: Any) -> Any:
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


class Reference:
    """Section 13 in NumPy, with what it keeps from step to step."""

    def __init__(self, method: DeepSupervision) -> None:
        self.method = method
        self.means: dict[Any, Any] = {}
        self.variance: dict[Any, Any] = {}
        self.seen: set[int] = set()

    def log_p(self, block: tuple[str, int], h: Any) -> Any:
        if self.method.name == "deep-uni":
            layer = self.method.classifiers[f"{block[0]}_{block[1]}"]
            return log_softmax(h @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
        means = self.means.setdefault(block, np.zeros((self.method.task.classes, h.shape[1])))
        spread = np.sqrt(self.variance.setdefault(block, np.ones(h.shape[1])))
        gaps = [np.sqrt((((h - p) / spread) ** 2).sum(1) + 1e-12) for p in means]
        return log_softmax(-np.stack(gaps, 1))

    def loss(self, outputs: Outputs, readouts: dict[str, Tensor], labels: Tensor) -> tuple[float, dict[str, float]]:
        """The loss, and what is logged; then running means and variances move."""
        settings, y = self.method.settings, labels.numpy()
        total = nll(log_softmax(outputs.logits.detach().numpy()), y)
        total += settings.weight * sum(nll(log_softmax(u.detach().numpy()), y) for u in readouts.values())
        logs, depths = {}, min(len(line) for line in outputs.stages.values())
        for back in range(settings.depths):  # from the last block
            h = {m: normalised(line[-1 - back].pooled.detach().numpy()) for m, line in outputs.stages.items()}
            log_p = {m: self.log_p((m, settings.depths - 1 - back), h[m]) for m in h}
            s = np.array([np.exp(log_p[m][np.arange(len(y)), y]).mean() for m in h])
            rho = np.exp(-s) / np.exp(-s).sum() if settings.rho else np.full(len(s), 1 / len(s))
            losses = np.array([nll(log_p[m], y) for m in h])
            alpha = s.std() / s.mean() if settings.dam else 1.0
            # What reads the blocks of deep-uni learns as with alpha = 1: the value is then that of alpha = 1, too.
            shown = 1.0 if self.method.name == "deep-uni" else alpha
            total += settings.lambda_deep * shown * len(s) * (rho * losses).sum()
            depth = f"depth{depths - back}"
            logs[f"{depth}/alpha"] = alpha
            for i, m in enumerate(h):
                logs |= {f"{depth}/{m}/s": s[i], f"{depth}/{m}/rho": rho[i], f"{depth}/{m}/L": losses[i]}
            if self.method.name == "aim-means":
                for m in h:
                    self.move((m, settings.depths - 1 - back), h[m], y)
        self.seen |= set(y.tolist())
        return total, logs

    def move(self, block: tuple[str, int], h: Any, y: Any) -> None:
        means, before = self.means[block], self.means[block].copy()
        for k in set(y.tolist()):
            mine = h[y == k]
            left = 0.9 ** len(mine) if k in self.seen else 0.0
            means[k] = left * means[k] + (1 - left) * mine.mean(0)
        self.variance[block] = 0.95 * self.variance[block] + 0.05 * np.maximum(((h - before[y]) ** 2).mean(0), 1e-3)


CASES: list[tuple[bool | tuple[str, ...], dict[str, Any]]] = [
    (False, {}),
    (False, {"rho": False, "lambda_deep": 0.4, "weight": 0.3}),
    (False, {"dam": True, "depths": 3}),
    (True, {"depths": 1, "weight": 0.0}),
    (True, {"dam": True, "rho": False}),
    (LOPSIDED, {"dam": True}),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("third", "settings"), CASES)
def test_loss_and_logs_of_several_steps_are_section_13(
    tiny: Path, name: str, third: bool | tuple[str, ...], settings: dict[str, Any]
) -> None:
    tiny_dataset.write(tiny, third=third)
    method = made(name, third, **settings)
    reference, steps, seen = Reference(method), Steps(method), []
    method.model.register_forward_hook(lambda model, inputs, outputs: seen.append(outputs))
    running = np.zeros(method.width), np.ones(method.width)
    for batch in batches(third):
        with torch.no_grad():  # the readouts before the step, by the head as it then is
            readouts = method.model.readout(copy.deepcopy(method.model)(batch.inputs).features)
            seen.clear()
        reference.method = copy.deepcopy(method)  # with the classifiers as they are before the step
        step = method.training_step(batch, steps)
        expected, logs = reference.loss(seen[-1], readouts, batch.labels)
        assert step.loss.item() == pytest.approx(expected, abs=1e-10)
        for key, value in logs.items():
            assert step.logs[key].item() == pytest.approx(value, abs=1e-10), key
        assert not any(value.requires_grad for value in step.logs.values())
        pooled = np.concatenate(
            [s.pooled.detach().numpy() for line in seen[-1].stages.values() for s in line[-method.settings.depths :]], 1
        )
        running = 0.9 * running[0] + 0.1 * pooled.mean(0), 0.9 * running[1] + 0.1 * pooled.var(0, ddof=1)
        np.testing.assert_allclose(method.norm.running_mean, running[0], atol=1e-10)
        np.testing.assert_allclose(method.norm.running_var, running[1], atol=1e-10)
        if name == "aim-means":
            for block, columns in method.columns.items():
                np.testing.assert_allclose(method.means[:, columns], reference.means[block], atol=1e-10)
                np.testing.assert_allclose(method.variance[columns], reference.variance[block], atol=1e-10)
            assert set(method.seen.nonzero().flatten().tolist()) == reference.seen


@pytest.mark.parametrize("name", NAMES)
def test_lambda_zero_is_joint_uni_bit_for_bit(tiny: Path, name: str) -> None:
    params = tiny_dataset.params(methods={name: {"lambda_deep": 0.0}}, training={"epochs": 2})
    found = {}
    for method in (name, "joint-uni"):
        train.run(params, "tiny", method, 0)
        folder = model_folder("tiny", method, 0)
        found[method] = learned(folder / "last.safetensors"), read_json(folder / "curves.json")["epochs"]
    assert found[name] == found["joint-uni"]


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_is_an_unbroken_one_and_leaves_no_trace(tiny: Path, name: str) -> None:
    params = tiny_dataset.params(methods={name: {"dam": True}})

    def loop(folder: str) -> Loop:
        opened = Setup.open(params, "tiny", name, 0)
        return Loop(opened.method(), opened.data, params.training, params.runtime, 0, tiny / folder, "key", "test")

    whole, first = loop("whole"), loop("parts")
    whole.run()
    first.run(until=1)
    second = loop("parts")
    assert second.resume()
    second.run()
    assert second.progress.history == whole.progress.history
    ours, theirs = second.method.state_dict(), whole.method.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items()) and "norm.running_mean" in ours
    assert ours["norm.running_var"].ne(1).any()
    second.export(tiny / "plain.safetensors", "last", 2)
    assert set(read_tensors(tiny / "plain.safetensors")[0]) == set(setup("joint").model().state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_the_classifier_s_and_the_encoder_s_share_of_alpha(tiny: Path, name: str) -> None:
    """alpha weighs what reaches the encoder; what reads its blocks learns from the start, where alpha is 0."""
    plain, batch = made(name, depths=1, weight=0.0), batches()[0]
    for other in batches()[1:3]:
        plain.training_step(other, Steps(plain))
    modulated = made(name, depths=1, weight=0.0, dam=True)
    modulated.load_state_dict(plain.state_dict())
    gradients, alphas = [], []
    for method in (plain, modulated):
        outputs = method.model(batch.inputs)
        method.zero_grad(set_to_none=True)
        loss, logs = method.deep_loss(method.features(outputs), batch.labels)
        loss.backward()
        alphas.append(logs["depth4/alpha"].item())
        gradients.append({key: p.grad for key, p in method.named_parameters() if p.grad is not None})
    assert alphas[0] == 1 and 0 < alphas[1] < 1
    assert gradients[0].keys() == gradients[1].keys() and any(key.startswith("model.enc") for key in gradients[0])
    for key, gradient in gradients[0].items():
        factor = 1 if key.startswith("classifiers") else alphas[1]
        torch.testing.assert_close(gradients[1][key], factor * gradient, rtol=1e-9, atol=1e-12)
    fresh = made(name, dam=True)
    step = fresh.training_step(batch, Steps(fresh))
    assert step.logs["depth4/alpha"] == 0 and fresh.training_step(batch, Steps(fresh)).logs["depth4/alpha"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_encoders_of_unequal_depth_meet_at_their_last_blocks(tiny: Path, name: str) -> None:
    tiny_dataset.write(tiny, third=LOPSIDED)
    method, batch = made(name, LOPSIDED), batches(LOPSIDED)[0]
    outputs = method.model(batch.inputs)
    assert [len(line) for line in outputs.stages.values()] == [2, 3]
    features = method.features(outputs)
    for modality, line in outputs.stages.items():
        for place in (0, 1):
            own = features[:, method.columns[modality, place]]
            torch.testing.assert_close(own, torch.from_numpy(normalised(line[place - 2].pooled.detach().numpy())))
    logs = method(batch).logs
    assert {key.partition("/")[0] for key in logs} == {"depth1", "depth2"} and "depth2/text/s" in logs
    refused = rf"{name}: depths = 3, but the encoder of 'facts' has 2 blocks: lower methods\.{name}\.depths"
    with pytest.raises(UserError, match=refused):
        made(name, LOPSIDED, depths=3)


def test_one_sample_is_normalised_by_the_running_statistics() -> None:
    norm = FeatureNorm(3).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    norm(x)
    kept = copy.deepcopy(norm.state_dict())
    expected = (x[:1] - kept["running_mean"]) / (kept["running_var"] + norm.eps).sqrt()
    torch.testing.assert_close(norm(x[:1]), expected)
    assert all(torch.equal(value, kept[key]) for key, value in norm.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_sample_has_finite_numbers_and_gradients(tiny: Path, name: str) -> None:
    tiny_dataset.write(tiny, third=LOPSIDED)
    method, batch = made(name, LOPSIDED), batches(LOPSIDED)[0]
    text = batch.inputs["text"]
    assert isinstance(text, Padded)
    inputs = {"facts": batch.inputs["facts"][:1], "text": Padded(text.values[:1], text.mask[:1])}  # type: ignore[index]
    one = Batch(inputs, batch.labels[:1])
    for _ in range(2):
        step = method.training_step(one, Steps(method))
        assert all(value.isfinite() for value in (step.loss, *step.logs.values()))
    assert all(value.isfinite().all() for value in method.state_dict().values())


@pytest.mark.parametrize("name", NAMES)
def test_one_modality_has_the_weight_one(name: str) -> None:
    entry = METHODS[name]
    task = Task(Classification(aim_toys.CLASSES), 4, 5, 0)
    method = entry.load()(aim_toys.build(("audio",)), entry.load_settings()(), task)
    step = method.training_step(Batch(*aim_toys.data(("audio",), 8)), Steps(method))
    assert step.logs["depth4/audio/rho"] == 1 and step.loss.isfinite()


@pytest.mark.parametrize("name", NAMES)
def test_auxiliary_blocks_on_top_train_their_own_weights_alone(tiny: Path, name: str) -> None:
    pdm = {"latent": 16, "steps": 2, "every": 3}
    method, plain = made(name, pam=True, pdm=pdm), made(name)
    loop, other = Steps(method), Steps(plain)
    method.begin_epoch(0, loop)
    for number, batch in enumerate(batches()[:2]):
        step = method.training_step(batch, loop)
        plain.training_step(batch, other)
        assert bool(step.loss.isfinite())
        expected = {f"depth4/audio/{what}" for what in ("s_aux", "L_aux", "w_mean")}
        learned = {f"depth4/audio/{what}" for what in ("L_g", "L_re")}  # the decoupling's turn
        assert expected <= set(step.logs) and (learned <= set(step.logs)) == (number == 0)
    moved = {
        name for name, value in method.model.state_dict().items() if not torch.equal(value, reference(plain)[name])
    }
    assert any("layer4" in name for name in moved)  # the last depths' blocks have another gradient
    assert not any("auxiliaries" in name for name in method.state_dict())

    method.zero_grad()
    batch = batches()[0]
    outputs = method.model(batch.inputs)
    assert method.auxiliaries is not None
    method.auxiliaries.weak(method._passes(outputs, batch.labels, 8))[0].loss.sum().backward()
    reached = {name for name, p in method.named_parameters() if p.grad is not None and bool(p.grad.abs().max() > 0)}
    assert reached and all(".layer3." in name or ".layer4." in name for name in reached)


def reference(method: DeepSupervision) -> dict[str, Tensor]:
    return method.model.state_dict()
