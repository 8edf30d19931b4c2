"""AIM's terms on a batch: what counts, what is a constant, what draws from where."""

import copy
import math

import pytest
import torch
from torch import nn

from aim_toys import CLASSES, Tokens, build, class_means, data, quick, warm
from equimodal.errors import UserError
from equimodal.methods.aim import modulation
from equimodal.methods.aim.decoupling import Decoupler
from equimodal.methods.aim.modulator import Modulator
from equimodal.models.framework import MultimodalModel
from equimodal.models.frozen import statistics_of_first
from equimodal.models.fusion import Concat
from equimodal.objectives import Classification

MODALITIES = ("audio", "visual")
INPUTS, LABELS = data(MODALITIES, 8)


def modulator(model=None, **settings):
    model = build() if model is None else model
    return Modulator(model, quick(**settings), Classification(CLASSES), class_means(tuple(model.modalities)), 0)


def terms(made, step=1):
    return made(INPUTS, LABELS, step)


def logged(made, step=1):
    return {name: float(value.detach()) for name, value in terms(made, step).logs.items()}


def test_riding_prototypes_count_in_nothing_but_their_own_terms():
    made = modulator(pam=False)
    found = terms(made)
    assert found.logits.shape == (8, CLASSES) and found.features["audio"].shape == (8, 32)
    plain = build()
    with torch.no_grad():  # the samples pass as if they were alone
        torch.testing.assert_close(found.logits, plain(INPUTS).logits)
    with statistics_of_first(made.model, 8, 8 + CLASSES):
        both = made.model({name: torch.cat([INPUTS[name], made.dap.inputs[name]]) for name in MODALITIES})
    torch.testing.assert_close(found.logits, both.logits[:8])
    z, p = both.stages["visual"][2].pooled[:8], both.stages["visual"][2].pooled[8:]
    expected = modulation.score(modulation.log_probabilities(z, p), LABELS)
    assert float(found.logs["depth3/visual/s"]) == pytest.approx(float(expected.s), rel=1e-5)
    assert float(found.logs["depth3/visual/L"]) == pytest.approx(float(expected.loss.detach()), rel=1e-5)


@pytest.mark.parametrize(("rho", "total"), [("together", 1), ("apart", 2)])
def test_the_loss_is_lambda_l_mod_plus_eq_5(rho, total):
    made = modulator(lambda_mod=3.0, rho_norm=rho, aux_weight=0.5)
    logs = logged(made)
    l_mod = 0.0
    for d in range(1, 5):
        pairs = [(m, suffix) for m in MODALITIES for suffix in ("", "_aux")]
        weights = {"": 1.0, "_aux": 0.5}
        depth = sum(
            weights[suffix] * logs[f"depth{d}/{m}/rho{suffix}"] * logs[f"depth{d}/{m}/L{suffix}"] for m, suffix in pairs
        )
        assert sum(logs[f"depth{d}/{m}/rho{suffix}"] for m, suffix in pairs) == pytest.approx(total, abs=1e-5)
        s = [logs[f"depth{d}/{m}/s"] for m in MODALITIES]
        assert logs[f"depth{d}/alpha"] == pytest.approx(abs(s[0] - s[1]) / sum(s), abs=1e-5)
        l_mod += logs[f"depth{d}/alpha"] * depth
    assert float(terms(made).loss.detach()) == pytest.approx(3 * l_mod + logs["dap/L_cls"] + logs["dap/L_r"], rel=1e-4)


def test_l_mod_reaches_encoders_and_prototypes_but_neither_head_nor_pdm():
    made = modulator(dap={"cls_weight": 0.0, "recon_weight": 0.0})
    terms(made).loss.backward()
    model = made.model
    assert all(
        parameter.grad is not None for name, parameter in model.named_parameters() if name.startswith("encoders")
    )
    assert all(parameter.grad is None for parameter in model.fusion.parameters())
    assert all(parameter.grad is not None for parameter in made.dap.inputs.values())
    assert all(parameter.grad is None for parameter in made.auxiliaries.parameters())


def gradient_of_auxiliaries(**settings):
    """Which blocks of the audio encoder, and which prototypes, the auxiliary term of its last depth alone reaches."""
    made = modulator(original_weight=0.0, **settings)
    made.auxiliaries.reset()
    with made.riding.statistics(8, 8 + CLASSES):
        outputs = made.model(made.riding.ride(INPUTS))
    passes = made.showing.passes(outputs, made.riding.behind(outputs, 8), LABELS, 0, 1.0, [("audio", 3)])
    made.auxiliaries.weak(passes)[0].loss.sum().backward()
    blocks = made.blocks.encoder("audio").blocks
    reached = [any(p.grad is not None and p.grad.abs().max() > 0 for p in block.parameters()) for block in blocks]
    own = made.dap.inputs["audio"].grad
    return reached, own is not None and bool(own.abs().max() > 0)


def test_an_auxiliarys_loss_concerns_its_own_block_and_nothing_else():
    """With `update: joint`: neither inputs nor prototypes carry it further (section 12)."""
    assert gradient_of_auxiliaries() == ([False, False, False, True], False)
    assert gradient_of_auxiliaries(detach_aux_inputs=False) == ([True, True, True, True], False)
    assert gradient_of_auxiliaries(detach_aux_prototypes=False) == ([True, True, True, True], True)


@pytest.mark.parametrize("statistics", ["samples", "all"])
def test_with_w_one_auxiliaries_are_the_originals_while_prototypes_ride(statistics):
    """Identity 3, batch normalisation and `update: joint` included."""
    made = modulator(warmed(), statistics=statistics, pdm={"steps": 0, "latent": 512, "every": 1000})
    terms(made)
    for part in made.auxiliaries.modules():
        if isinstance(part, Decoupler):
            with torch.no_grad():
                part.mask.zero_()
                part.mask_bias.fill_(1e4)
    logs = logged(made)
    for d in range(1, 5):
        for m in MODALITIES:
            assert logs[f"depth{d}/{m}/L_aux"] == pytest.approx(logs[f"depth{d}/{m}/L"], rel=1e-4)
            assert logs[f"depth{d}/{m}/s_aux"] == pytest.approx(logs[f"depth{d}/{m}/s"], rel=1e-4)


def warmed():
    model = build()
    warm(model, 10)
    return model.train()


def test_running_statistics_are_those_of_the_samples_alone():
    """As if neither prototypes nor auxiliaries had passed: what inference uses is what joint training would."""
    plain, modulated = build(), build()
    terms(modulator(modulated))
    plain(INPUTS)
    buffers = dict(plain.named_buffers())
    for name, buffer in modulated.named_buffers():
        torch.testing.assert_close(buffer, buffers[name])
    shifted = build()
    terms(modulator(shifted, statistics="all"))
    name = "encoders.audio.layer3.0.bn1.running_mean"
    assert not torch.allclose(dict(shifted.named_buffers())[name], buffers[name])


def test_no_dam_and_no_pam():
    logs = logged(modulator(dam=False, pam=False))
    assert all(logs[f"depth{d}/alpha"] == 1 for d in range(1, 5))
    assert not any("_aux" in name or "/w_" in name for name in logs)
    assert logs["depth1/audio/rho"] + logs["depth1/visual/rho"] == pytest.approx(1, abs=1e-6)


def test_auxiliary_only_drops_the_originals_terms():
    both, aux = modulator(lambda_mod=1.0), modulator(lambda_mod=1.0, original_weight=0.0)
    logs = logged(both)
    assert logged(aux)["depth4/audio/rho"] == pytest.approx(logs["depth4/audio/rho"])
    difference = float(terms(both).loss.detach() - terms(aux).loss.detach())
    originals = sum(
        logs[f"depth{d}/alpha"] * logs[f"depth{d}/{m}/rho"] * logs[f"depth{d}/{m}/L"]
        for d in range(1, 5)
        for m in MODALITIES
    )
    assert difference == pytest.approx(originals, rel=1e-3)


def test_the_dominant_reading_gives_auxiliaries_to_the_stronger_modality_of_a_depth():
    logs = logged(modulator(aux_modalities="dominant", rho_norm="together"))
    for d in range(1, 5):
        strong, weak = sorted(MODALITIES, key=lambda m: -logs[f"depth{d}/{m}/s"])
        assert f"depth{d}/{strong}/s_aux" in logs and f"depth{d}/{weak}/s_aux" not in logs
        assert logs[f"depth{d}/{strong}/rho"] + logs[f"depth{d}/{weak}/rho"] + logs[
            f"depth{d}/{strong}/rho_aux"
        ] == pytest.approx(1, abs=1e-5)


def test_a_part_of_the_batch_is_drawn_from_seed_and_step_alone():
    made = modulator(aux_fraction=0.5)
    rows = [made.showing.part(0.5, 8, step, torch.device("cpu")).tolist() for step in (0, 1, 0)]
    assert rows[0] == rows[2] != rows[1] and len(set(rows[0])) == 4
    state = torch.get_rng_state()
    terms(made)
    assert torch.equal(torch.get_rng_state(), state)
    outputs = made.model(made.riding.ride(INPUTS))
    assert len(made.showing.learned(outputs, made.riding.behind(outputs, 8), LABELS, 0)["audio", 0].targets) == 2
    assert set(made.showing.part(0.25, 8, 3, torch.device("cpu")).tolist()) <= set(
        made.showing.part(0.5, 8, 3, torch.device("cpu")).tolist()
    )
    seen = torch.cat([made.showing.part(0.5, 8, step, torch.device("cpu")) for step in range(200)])
    assert torch.bincount(seen, minlength=8).float().std() < 20  # every sample about 100 times


def test_what_eq_8_sees_is_constant_by_default():
    made = modulator()
    terms(made)
    outputs = made.model(made.riding.ride(INPUTS))
    losses = list(made.auxiliaries.losses(made.showing.learned(outputs, made.riding.behind(outputs, 8), LABELS, 0)))
    assert len(losses) == 4
    loss, _, logs = losses[0]
    assert {name.rpartition("/")[2] for name in logs} == {"L_g", "L_re", "s_good"}
    gradients = torch.autograd.grad(loss, list(made.model.encoders.parameters()), allow_unused=True)
    weights = {id(w) for m in MODALITIES for b in made.blocks.encoder(m).blocks for w in b.parameters() if w.dim() > 1}
    assert all(g is None for g, p in zip(gradients, made.model.encoders.parameters(), strict=True) if id(p) in weights)
    literal = modulator(pdm={"detach": False, "every": 2})
    due, not_due = terms(literal, 0), terms(literal, 1)
    assert "depth1/audio/L_g" in due.logs and "depth1/audio/L_g" not in not_due.logs
    (gradient,) = torch.autograd.grad(due.loss, [literal.auxiliaries.decoupling.at(0).parts[0].mask])
    assert float(gradient.abs().max()) > 0


def test_auxiliaries_in_some_steps_leave_the_originals_alone_in_the_others():
    made, always, without = modulator(aux_every=3), modulator(), modulator(pam=False)
    for step in range(4):  # the decoupling learns at its own pace in all of them
        found, every, never = (terms(each, step) for each in (made, always, without))
        other = never if step % 3 else every
        assert float(found.loss.detach()) == pytest.approx(float(other.loss.detach()), rel=1e-5)
        assert ("depth1/audio/s_aux" in found.logs) == (step % 3 == 0)
    with pytest.raises(UserError, match="set rho_norm: apart"):
        modulator(aux_every=2, rho_norm="together")


def test_some_prototypes_ride_and_the_others_pass_apart():
    """Without gradient, and normalised as the samples were: the same prototypes as if all had ridden."""
    made, always = modulator(warmed(), ride_fraction=0.5, pam=False), modulator(warmed(), pam=False)
    riders, others = made.riding.riders(1)
    assert len(riders) == 2
    assert sorted(torch.cat([riders, others]).tolist()) == list(range(CLASSES))
    assert torch.equal(made.riding.riders(1)[0], riders)
    some, all_ride = terms(made, 1), terms(always, 1)
    for name, value in some.logs.items():
        if "dap" not in name:
            torch.testing.assert_close(value, all_ride.logs[name], rtol=0.03, atol=2e-3, msg=name)  # variance: n - 1
    for (name, buffer), other in zip(made.model.named_buffers(), always.model.buffers(), strict=True):
        torch.testing.assert_close(buffer, other, msg=name)
    some.loss.backward()
    moved = made.dap.inputs["audio"].grad.abs().amax((1, 2, 3)) > 1e-6
    assert set(moved.nonzero().flatten().tolist()) == set(riders.tolist())
    for settings in ({"update": "alternate"}, {"statistics": "all"}):
        with pytest.raises(UserError, match=r"ride_fraction|pass apart"):
            modulator(ride_fraction=0.5, **settings)


def test_encoders_without_normalisation_are_warned_of_while_few_prototypes_ride():
    plain = nn.ModuleDict({"a": nn.Linear(2, 2)})
    for settings, expected in (
        ({}, False),
        ({"ride_fraction": 0.5}, True),
    ):
        made = modulator(**settings)
        assert not made.unsteady()
        made.model.encoders = plain
        assert made.unsteady() is expected


def test_tau_auto_measures_each_depth():
    made = modulator(tau="auto")
    made.measure_gaps()
    found = made.prototypes_in_evaluation()
    gaps = [float(modulation.nearest_gap(found[m, 1])) for m in MODALITIES]
    assert float(made.gap[1]) == pytest.approx(sum(gaps) / 2)
    made.gap.fill_(1.0)
    assert logged(made)["depth4/audio/s"] == pytest.approx(logged(modulator(tau=1.0))["depth4/audio/s"], rel=1e-5)
    made.gap.fill_(0.2)
    assert logged(made)["depth4/audio/s"] == pytest.approx(logged(modulator(tau=0.2))["depth4/audio/s"], rel=1e-5)


def test_whole_maps():
    made = modulator(pool="none")
    assert made.prototypes_in_evaluation()["visual", 0].shape == (CLASSES, 2 * 4 * 8 * 8)
    assert torch.isfinite(terms(made).loss)
    with pytest.raises(UserError, match="label classifies pooled outputs"):
        modulator(pool="none", scores="label")


def test_encoders_of_unequal_depth_are_aligned_by_relative_depth():
    torch.manual_seed(0)
    encoders = {"third": Tokens(depth=5), "other": Tokens(depth=2)}
    model = MultimodalModel(encoders, Concat({"third": 8, "other": 8}, CLASSES))
    means = class_means(("third",))["third"]
    made = Modulator(model, quick(), Classification(CLASSES), {"third": means, "other": means}, 0)
    assert made.blocks.levels == {"third": [2, 4], "other": [0, 1]}


def test_alternate_prototypes_are_smoothed_constants():
    made = modulator(update="alternate")
    old, new = made.target_audio_2.clone(), made.prototypes_in_evaluation()["audio", 2]
    torch.testing.assert_close(old, new)
    with torch.no_grad():
        made.dap.inputs["audio"] += 1.0
    moved = made.prototypes_in_evaluation()["audio", 2]
    made.refresh_targets(0.9)
    torch.testing.assert_close(made.target_audio_2, 0.9 * old + 0.1 * moved)
    terms(made).loss.backward()
    assert made.dap.inputs["audio"].grad is None


def test_three_modalities_and_sqrt_m_minus_1():
    model = build(("audio", "visual", "third"))
    made = Modulator(model, quick(pam=False), Classification(CLASSES), class_means(("audio", "visual", "third")), 0)
    inputs, labels = data(("audio", "visual", "third"), 8)
    logs = made(inputs, labels, 0).logs
    assert made.blocks.depths == 3 and made.blocks.levels["audio"] == [1, 2, 3]
    assert 0 <= float(logs["depth3/alpha"]) <= math.sqrt(2)
    assert sum(float(logs[f"depth2/{m}/rho"]) for m in made.modalities) == pytest.approx(1, abs=1e-5)


def test_the_framework_is_no_part_of_the_modulators_state():
    made = modulator()
    assert not any(name.startswith(("model", "blocks", "encoders")) for name in made.state_dict())
    assert copy.deepcopy(made).dap is not made.dap


def test_nothing_to_train_is_refused():
    with pytest.raises(UserError, match="leave nothing to train"):
        modulator(lambda_mod=0.0, task_loss=False, update="alternate")
