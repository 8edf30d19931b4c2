"""AIM on a grid of target values (docs/regression.md): its formulas against NumPy, and where they are
classification's.
"""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from aim_toys import build, data, quick, shapes
from equimodal.errors import UserError
from equimodal.methods.aim import modulation
from equimodal.methods.aim.classifiers import BlockClassifiers
from equimodal.methods.aim.dap import Prototypes, require_accuracy
from equimodal.methods.aim.fitting import fit_modulator, make_optimizers
from equimodal.methods.aim.method import AIMMethod
from equimodal.methods.aim.modulator import Modulator
from equimodal.methods.aim.settings import DAPSettings
from equimodal.methods.base import Batch, Task
from equimodal.models.framework import MultimodalModel
from equimodal.objectives import Classification, Regression
from equimodal.settings.regression import RegressionSettings

MODALITIES = ("audio", "visual")
GRID = RegressionSettings(low=-1, high=1, points=3)
OBJECTIVE = Regression(GRID)


def numbers(rows: int, seed: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    """Toy rows whose labels -1, 0, 1 have some jitter within the range."""
    inputs, classes = data(MODALITIES, rows, seed)
    jitter = 0.4 * torch.rand(rows, generator=torch.Generator().manual_seed(seed)) - 0.2
    return inputs, (classes - 1 + jitter).clamp(-1, 1)


def means() -> dict[str, Tensor]:
    inputs, labels = numbers(200)
    weights = OBJECTIVE.memberships(labels)
    return {
        name: torch.einsum("np,n...->p...", weights, x) / weights.sum(0).view(-1, *[1] * (x.dim() - 1))
        for name, x in inputs.items()
    }


def framework(outputs: int = 1) -> MultimodalModel:
    model = build(MODALITIES, outputs)
    model.fusion.averaged = outputs == 1
    return model


@pytest.fixture(scope="module")
def warm() -> MultimodalModel:
    model = framework()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for step in range(40):
        inputs, labels = numbers(16, 1000 + step)
        OBJECTIVE.loss(model(inputs).logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return model


def test_score_against_numpy() -> None:
    draw = np.random.default_rng(0)
    features, prototypes, labels = draw.normal(size=(30, 5)), draw.normal(size=(7, 5)), draw.uniform(-3, 3, 30)
    settings, tau = RegressionSettings(low=-3, high=3, points=7, bandwidth=1.5), 0.7
    a = np.maximum(0, 1 - np.abs(labels[:, None] - np.linspace(-3, 3, 7)) / 1.5)
    a /= a.sum(1, keepdims=True)
    z = -np.sqrt(((features[:, None] - prototypes) ** 2).sum(2)) / tau
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    s = (a * np.exp(log_p)).sum(1)

    tensors = [torch.from_numpy(x) for x in (features, prototypes, labels)]
    found = modulation.score(
        modulation.log_probabilities(tensors[0], tensors[1], tau), Regression(settings).memberships(tensors[2])
    )
    assert float(found.s) == pytest.approx(s.mean(), abs=1e-10)
    assert float(found.loss) == pytest.approx(-(a * log_p).sum(1).mean(), abs=1e-10)
    assert float(found.low) == pytest.approx((s / a.max(1) < 0.01).mean()) and float(found.high) == pytest.approx(
        (s / a.max(1) > 0.99).mean()
    )


def test_s_is_at_most_the_largest_membership_and_saturates_there() -> None:
    weights = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.5, 0.5]], dtype=torch.float64)
    sure = torch.tensor([[1.0, 1e-9, 1e-9], [1e-9, 1.0, 1e-9]], dtype=torch.float64).log()
    found = modulation.score(sure, weights)
    assert float(found.s) == pytest.approx((0.7 + 0.5) / 2) and float(found.high) == 1
    alone = modulation.score(torch.log_softmax(torch.zeros(2, 3, dtype=torch.float64), 1), weights)
    assert float(alone.s) == pytest.approx(1 / 3)  # chance, whatever the memberships


def test_labels_on_the_grid_score_as_classes_bit_for_bit() -> None:
    draw = torch.Generator().manual_seed(0)
    features, prototypes = torch.randn(20, 5, generator=draw), torch.randn(3, 5, generator=draw)
    ids = torch.randint(3, (20,), generator=draw)
    scores, gradients = [], []
    for targets in (ids, OBJECTIVE.memberships(ids.float() - 1)):
        x = features.clone().requires_grad_()
        scores.append(modulation.score(modulation.log_probabilities(x, prototypes), targets))
        scores[-1].loss.backward()
        gradients.append(x.grad)
    assert all(torch.equal(getattr(scores[0], name), getattr(scores[1], name)) for name in ("loss", "s", "low", "high"))
    assert torch.equal(*gradients)


@pytest.mark.parametrize("scores", ["prototypes", "label"])
def test_modulation_on_the_grid_is_classifications(scores: str) -> None:
    """L_mod and everything logged of it, auxiliary blocks included; the head plays no part in it."""
    found = []
    inputs, ids = data(MODALITIES, 12)
    for objective, labels in ((Classification(3), ids), (OBJECTIVE, ids.float() - 1)):
        made = Modulator(framework(), quick(scores=scores), objective, means(), 0)
        outputs = made.model(made.riding.ride(inputs) if made.rides else inputs)
        modulated, logs = made.modulate(
            outputs,
            made.riding.behind(outputs, 12) if made.rides else dict.fromkeys(made.blocks.places),
            objective.memberships(labels),
            0,
        )
        found.append({"L_mod": modulated, **logs})
    assert found[0].keys() == found[1].keys() and any("s_aux" in name for name in found[0])
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-6, atol=1e-7, msg=name)


def test_block_classifiers_learn_memberships() -> None:
    made = BlockClassifiers({"audio": [4]}, 3)
    x, targets = torch.randn(6, 4), OBJECTIVE.memberships(torch.linspace(-1, 1, 6))
    assert float(made.own_loss("audio", 0, x, targets).detach()) == pytest.approx(np.log(3), rel=1e-5)
    with torch.no_grad():
        made.weights["audio"][0].normal_()
    expected = -(targets * made.log_probabilities("audio", 0, x)).sum(1).mean()
    torch.testing.assert_close(made.own_loss("audio", 0, x, targets), expected, check_dtype=False)


@pytest.mark.parametrize(("loss", "power"), [("l1", 1), ("mse", 2)])
def test_prototypes_are_trained_on_their_own_values(warm: MultimodalModel, loss: str, power: int) -> None:
    objective = Regression(RegressionSettings(low=-1, high=1, points=3, loss=loss))
    made = Prototypes(means(), {"audio": 1, "visual": 1}, DAPSettings(), objective)
    with torch.no_grad():
        outputs = copy.deepcopy(warm).eval()(made.samples())
        found, logs = made.classification(warm, outputs)
    answers = [outputs.logits, *warm.readout(outputs.features).values()]
    values = torch.tensor([-1.0, 0, 1])
    torch.testing.assert_close(
        found, torch.stack([(answer[:, 0] - values).abs().pow(power).mean() for answer in answers]).sum()
    )
    assert set(logs) == {f"dap/{place}{name}" for place in ("", "audio/", "visual/") for name in ("accuracy", "order")}


def test_a_head_that_cannot_order_the_prototypes_is_refused(warm: MultimodalModel) -> None:
    with pytest.raises(UserError, match="their order on the grid of values"):
        require_accuracy(
            {"step": [3], "accuracy": [1.0], "order": [0.5], "audio/order": [0.5], "audio/accuracy": [1.0]},
            DAPSettings(),
            5,
        )
    require_accuracy({"step": [3], "accuracy": [0.2], "order": [1.0]}, DAPSettings(), 5)
    constant = copy.deepcopy(warm)
    with torch.no_grad():
        constant.fusion.linear.weight.zero_()
    made = Modulator(constant, quick(pam=False, dap={"required_accuracy": 1.0, "steps": 2}), OBJECTIVE, means(), 0)
    with pytest.raises(UserError, match="0 % of the prototypes their order"):
        fit_modulator(made, make_optimizers(made), lambda: iter([]))


@pytest.mark.parametrize(
    "changes", [{}, {"pam": False}, {"scores": "label"}, {"update": "alternate"}, {"tau": "auto", "aux_fraction": 0.5}]
)
def test_variants_train_without_nan(warm: MultimodalModel, changes: dict[str, object]) -> None:
    method = AIMMethod(copy.deepcopy(warm), quick(**changes), Task(OBJECTIVE, 4, 5, 0, means()))
    log = method.fit(lambda: (Batch(*numbers(8, seed)) for seed in range(1000)))
    assert log["dap"]["order"][-1] == 1
    for seed in range(3):
        step = method(Batch(*numbers(8, seed)))
        step.loss.backward()
        assert torch.isfinite(step.loss) and step.logits.shape == (8, 1)
        method.stepper.step()
        assert all(bool(value.isfinite().all()) for value in step.logs.values())
    assert all(
        parameter.grad is None or bool(parameter.grad.isfinite().all()) for parameter in method.model.parameters()
    )
    assert {name: x.shape[1:] for name, x in means().items()} == shapes(list(MODALITIES))


def test_task_loss_is_the_objectives(warm: MultimodalModel) -> None:
    method = AIMMethod(
        copy.deepcopy(warm), quick(lambda_mod=0.0, update="alternate"), Task(OBJECTIVE, 4, 5, 0, means())
    )
    batch = Batch(*numbers(8))
    method.train()
    step = method(batch)
    torch.testing.assert_close(step.loss, functional.l1_loss(step.logits[:, 0], batch.labels))
