"""AIMMethod under a toy loop: every variant with two and three modalities, fits, state, identity 6."""

import copy
import math

import pytest
import torch

from aim_toys import CLASSES, FAST, VARIANTS, Loop, batches, build, data, make, quick, train, warm
from equimodal.errors import UserError
from equimodal.methods.aim.decoupling import DepthDecoupling
from equimodal.methods.aim.fitting import health
from equimodal.methods.aim.settings import AIMSettings
from equimodal.methods.base import Batch, Task
from equimodal.methods.joint.method import Joint
from equimodal.objectives import Classification

TWO, THREE = ("audio", "visual"), ("audio", "visual", "third")


@pytest.fixture(scope="module")
def warmed():
    """Warm frameworks, made once."""
    made = {}
    for modalities in (TWO, THREE):
        model = build(modalities)
        warm(model, 15)
        made[modalities] = model
    return made


def unfitted(warmed, modalities=TWO, **changes):
    changes = {**changes, "dap": {"steps": 8, **changes.get("dap", {})}}
    return make(quick(**changes), modalities, copy.deepcopy(warmed[modalities]))


def fitted(warmed, modalities=TWO, **changes):
    method = unfitted(warmed, modalities, **changes)
    method.fit(batches(modalities))
    return method


ENOUGH = {"steps": 30, "latent": 512}  # to decouple


@pytest.fixture(scope="module")
def decoupled(warmed):
    """What the fit says."""
    return unfitted(warmed, pdm=ENOUGH).fit(batches(TWO))


@pytest.mark.parametrize(
    ("variant", "modalities"),
    [
        *((name, THREE) if name in FAST else pytest.param(name, THREE, marks=pytest.mark.slow) for name in VARIANTS),
        *((name, TWO) for name in ("no-pam", "alternate")),
        *(pytest.param(name, TWO, marks=pytest.mark.slow) for name in ("aim", "label")),
    ],
)
def test_every_variant_trains_two_epochs(warmed, variant, modalities):
    """Three modalities: convolutional blocks and transformer layers side by side."""
    method = fitted(warmed, modalities, **VARIANTS[variant])
    start = copy.deepcopy(method.state_dict())
    method.load_fit(method.fit_state())
    history = train(method, epochs=2, steps=2)
    assert all(math.isfinite(value) for epoch in history for value in epoch.values())
    assert all(bool(torch.isfinite(value).all()) for value in method.state_dict().values())
    assert all(
        f"depth{d}/{m}/s" in history[-1] for d in range(1, method.modulator.blocks.depths + 1) for m in modalities
    )
    assert not any("modulator" in name for name in method.model.state_dict())
    moved = {name for name, value in method.state_dict().items() if not torch.equal(value, start[name])}
    assert any(name.startswith("model.encoders") for name in moved)
    assert not any(name.endswith(".gap") for name in moved)
    assert not any("mean_" in name or "auxiliaries" in name for name in start)  # made anew by every run
    if variant == "no-task-loss":
        assert any("fusion" in name for name in moved)  # by L_cls of the riding prototypes


def test_the_fit_leaves_the_framework_and_the_global_generator_alone(warmed):
    method = make(quick(), TWO, copy.deepcopy(warmed[TWO]).train())
    before = copy.deepcopy(method.model.state_dict())
    modes = [module.training for module in method.model.modules()]
    state = torch.get_rng_state()
    log = method.fit(batches(TWO))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in method.model.state_dict().items())
    assert [module.training for module in method.model.modules()] == modes
    assert log["dap"]["accuracy"][-1] == 1
    assert len(log["cosine"]["audio"]) == 4 and len(log["cosine"]["audio"][0]) == CLASSES
    assert {"depth4/audio/s_good", "depth4/audio/L_re", "depth4/audio/cos"} <= set(log["blocks"])


def test_the_pdm_decouples_and_its_gradient_agrees_with_the_originals(decoupled):
    """Section 12 before modulation: s~ < s (Fig. 5a), theta restored, and J^T grad L~ along grad L at every block."""
    found = decoupled["blocks"]
    for m in TWO:
        assert found[f"depth4/{m}/s_aux"] < found[f"depth4/{m}/s"]
        assert found[f"depth4/{m}/s_aux"] < found[f"depth4/{m}/s_good"]
        for d in range(1, 5):
            assert found[f"depth{d}/{m}/L_re"] < 0.01
            assert found[f"depth{d}/{m}/cos"] > 0


def test_a_decoupling_as_it_was_is_called_one_that_restores_nothing(warmed):
    """Relative L_re cannot hold the autoencoder against L_g at lr 1e-2: what section 12 found, and the checks say."""
    old = {"steps": 60, "relative": True, "lr": 0.03, "mask_lr": 0.03}
    found = unfitted(warmed, pdm=old).fit(batches(TWO))
    assert any("does not restore" in line for line in found["health"])


def broken(theta):
    """A weak part that is made of the good one."""

    def weak(decoupling, blocks):
        found = real(decoupling, blocks)
        good = decoupling.good(blocks, detach=False).theta
        return found._replace(theta={m: {name: theta(value) for name, value in good[m].items()} for m in good})

    real = DepthDecoupling.weak
    return weak


def test_a_weak_part_that_got_the_good_weights_is_called_no_weaker(warmed, decoupled, monkeypatch):
    assert not any("no lower" in line for line in decoupled["health"])
    monkeypatch.setattr(DepthDecoupling, "weak", broken(lambda theta: theta))
    found = unfitted(warmed, pdm=ENOUGH).fit(batches(TWO))
    (line,) = [line for line in found["health"] if "no lower" in line]
    assert line.count("depth") >= 4


def test_a_weak_part_that_reads_the_wrong_channels_is_called_an_anti_classifier_of_opposed_gradient(
    warmed, monkeypatch
):
    monkeypatch.setattr(DepthDecoupling, "weak", broken(lambda theta: theta.flip(1)))
    found = unfitted(warmed, pdm=ENOUGH).fit(batches(TWO))
    chance, gradient = found["health"]
    assert "below chance" in chance and "depth4/audio" in chance
    assert "opposes the original's" in gradient and "depth4/audio" in gradient


def test_a_failed_fit_is_a_user_error(warmed):
    method = make(quick(dap={"required_accuracy": 1.0, "steps": 1, "init": "normal"}), TWO, copy.deepcopy(warmed[TWO]))
    with pytest.raises(UserError, match=r"dap\.required_accuracy asks for 100 %"):
        method.fit(batches(TWO))


def test_a_fit_is_deterministic_and_its_state_is_exact(warmed):
    a, b = fitted(warmed), fitted(warmed)
    assert a.fit_state().keys() == b.fit_state().keys()
    assert all(torch.equal(value, b.fit_state()[name]) for name, value in a.fit_state().items())
    fresh = make(quick(), TWO, copy.deepcopy(warmed[TWO]))
    fresh.load_fit(a.fit_state())
    first, second = train(a), train(fresh)
    assert first == second
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in a.state_dict().items())


def test_a_state_of_other_settings_is_refused(warmed):
    method = fitted(warmed)
    make(quick(pdm={"latent": 8})).load_fit(method.fit_state())  # the decoupling is no part of it
    with pytest.raises(UserError, match=r"do not belong .* .dap"):
        make(quick(dap={"decoder": "affine"})).load_fit(fitted(warmed, dap={"decoder": "identity"}).fit_state())


@pytest.mark.parametrize(
    "changes", [{"aux_fraction": 0.5}, {"update": "alternate", "dap_steps": 2}], ids=["joint", "alternate"]
)
def test_resuming_is_bit_identical(warmed, changes):
    whole = fitted(warmed, **changes)
    state = whole.fit_state()
    loop = Loop(whole)
    train(whole, epochs=1, loop=loop)
    saved = copy.deepcopy(
        (
            whole.state_dict(),
            loop.optimizer.state_dict(),
            {n: o.state_dict() for n, o in whole.optimizers().items()},
            whole.extra(),
        )
    )
    expected = train(whole, epochs=1, first=1, loop=loop)

    again = make(quick(**changes), TWO, copy.deepcopy(warmed[TWO]))
    again.load_fit(state)
    second = Loop(again)
    again.load_state_dict(saved[0])
    second.optimizer.load_state_dict(saved[1])
    for name, value in saved[2].items():
        again.optimizers()[name].load_state_dict(value)
    again.load_extra(saved[3])
    assert train(again, epochs=1, first=1, loop=second) == expected
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())


def test_lambda_zero_alternate_is_joint_training_bit_for_bit(warmed):
    """Identity 6 of aim.md."""
    method = fitted(warmed, lambda_mod=0.0, update="alternate")
    joint = Joint(copy.deepcopy(warmed[TWO]), AIMSettings(), Task(Classification(CLASSES), 4, 5, 0))
    a, b = train(method, epochs=2), train(joint, epochs=2)
    assert [epoch["loss"] for epoch in a] == [epoch["loss"] for epoch in b]
    assert all(torch.equal(value, joint.model.state_dict()[name]) for name, value in method.model.state_dict().items())


def test_the_pdm_learns_every_so_many_steps(warmed):
    method = fitted(warmed, pdm={"every": 3})
    loop, moved = Loop(method), []
    method.train()
    method.begin_epoch(0, loop)
    mask = method.modulator.auxiliaries.decoupling.at(0).parts[0].mask
    for step in range(5):
        before = mask.detach().clone()
        method.training_step(Batch(*data(TWO, 8, step)), loop)
        moved.append(not torch.equal(before, mask))
    assert moved == [True, False, False, True, False]


def test_every_epoch_starts_the_decoupling_for_its_weights(warmed):
    method = fitted(warmed, pdm={"steps": 0, "every": 1000, "latent": 4})
    loop = Loop(method)
    train(method, epochs=1, steps=6, loop=loop)
    blocks, part = method.modulator.blocks, method.modulator.auxiliaries.decoupling.at(3)
    old = float(part.good(blocks.at(3), True).relative["audio"].detach())
    method.train()
    method.begin_epoch(1, loop)
    method(Batch(*data(TWO, 8)))
    assert float(part.good(blocks.at(3), True).relative["audio"].detach()) < old


def test_rates_follow_the_schedule(warmed):
    for follow, (prototypes, pdm) in {"prototypes": (0.25, 1), "all": (0.25, 0.25), "none": (1, 1)}.items():
        method = fitted(warmed, follow_schedule=follow, pdm={"lr": 1e-3})
        loop = Loop(method)
        loop.rate = 0.25
        method.begin_epoch(1, loop)
        assert method.optimizers()["dap"].param_groups[0]["lr"] == prototypes * 2e-2
        assert [g["lr"] for g in method.modulator.auxiliaries.optimizer.param_groups] == [pdm * 3e-2, pdm * 1e-3]


def test_health_checks_warn_in_words(warmed):
    method = make(quick(), TWO, copy.deepcopy(warmed[TWO]))
    values = {
        "depth4/audio": {"s": 0.5, "s_aux": 0.6, "saturated_low": 0.97, "saturated_high": 0.0},
        "depth3/audio": {"s": 0.5, "s_aux": 0.2, "L_re": 0.02},
        "depth1/audio": {"s": 0.5, "s_aux": 0.4, "L_re": 0.001, "saturated_high": 0.9},
    }
    for _ in range(2):
        method._account(
            {
                f"{name}/{key}": torch.tensor(value)
                for name, own in values.items()
                for key, value in ({"saturated_low": 0.0, "saturated_high": 0.0} | own).items()
            }
        )
    saturation, inversion, anti, restored = method.warnings()
    assert "95 %" in saturation and "depth4/audio" in saturation and "depth1" not in saturation
    assert "depth4/audio" in inversion and "depth1" not in inversion
    assert "below chance" in anti and "depth3/audio" in anti and "depth1" not in anti
    assert "L_re over 0.01" in restored and "depth3/audio" in restored and "depth1" not in restored


def test_the_gradients_direction_is_a_health_check():
    blocks = {"depth2/m/s": 0.5, "depth2/m/s_aux": 0.4, "depth2/m/cos": -0.1, "depth2/m/L_re": 0.0}
    (line,) = health(blocks, 3)
    assert "opposes" in line and "depth2/m" in line
    assert not health({**blocks, "depth2/m/cos": 0.1}, 3)


def test_every_variant_takes_the_same_fit(warmed):
    state = fitted(warmed).fit_state()
    label = fitted(warmed, scores="label", pam=False)
    assert label.fit_state().keys() == state.keys()
    assert all(torch.equal(value, label.fit_state()[name]) for name, value in state.items())
    assert "dap" not in label.optimizers() and "pdm" not in label.optimizers()
    for changes in (
        {"pam": False},
        {"scores": "label"},
        {"update": "alternate"},
        {"lambda_mod": 3.0, "aux_fraction": 0.5},
    ):
        other = make(quick(**changes), TWO, copy.deepcopy(warmed[TWO]))
        other.load_fit(state)
        own = other.modulator.state_dict()
        assert all(torch.equal(own[name], value) for name, value in state.items() if name in own)


def test_block_classifiers_learn_from_nothing(warmed):
    """Alike at first, so alpha = 0: L_mod alone would never move them."""
    method = fitted(warmed, scores="label", pam=False)
    history = train(method, epochs=2, steps=6)
    assert history[1]["depth4/audio/s"] > history[0]["depth4/audio/s"] > 1 / CLASSES
    assert history[1]["depth4/alpha"] > 0


def test_the_cost_of_a_step_repeats_with_the_pdms_pace():
    assert make(quick(pdm={"every": 3})).cycle() == 3
    assert make(quick(pdm={"every": 6}, aux_every=4)).cycle() == 12
    assert make(quick(pam=False)).cycle() == 1 == make(quick(lambda_mod=0.0)).cycle()
