"""Depth-adaptive prototypes: Eq. 3 to 5 and their fit on a frozen framework."""

import copy

import pytest
import torch

from aim_toys import CLASSES, build, class_means, warm
from equimodal.errors import UserError
from equimodal.methods.aim.dap import Prototypes, fit_prototypes, require_accuracy
from equimodal.methods.aim.settings import DAPSettings
from equimodal.objectives import Classification

MODALITIES = ("audio", "visual")


def prototypes(**settings):
    settings = DAPSettings(**settings)
    made = Prototypes(class_means(MODALITIES), {"audio": 1, "visual": 1}, settings, Classification(CLASSES))
    made.reset(torch.Generator().manual_seed(0))
    return made


def shift(made, by):
    with torch.no_grad():
        for parameter in made.inputs.values():
            parameter += by


def test_class_means_reconstruct_themselves():
    made = prototypes()
    assert float(made.reconstruction().detach()) == 0
    assert all(torch.equal(parameter, class_means(MODALITIES)[name]) for name, parameter in made.inputs.items())


def test_reconstruction_is_a_mean_over_elements_or_the_literal_sum():
    mean, literal = prototypes(), prototypes(recon="sum")
    shift(mean, 0.5)
    shift(literal, 0.5)
    assert float(mean.reconstruction().detach()) == pytest.approx(0.25)
    elements = sum(x.numel() for x in class_means(MODALITIES).values())
    assert float(literal.reconstruction().detach()) == pytest.approx(0.25 * elements / (2 * CLASSES), rel=1e-5)


def test_the_decoder_is_a_gain_and_a_shift_a_channel():
    made = prototypes()
    with torch.no_grad():
        made.gain["visual"].copy_(torch.tensor([2.0, 1.0]))
        made.shift["visual"].copy_(torch.tensor([0.0, 3.0]))
    x = class_means(MODALITIES)["visual"]
    torch.testing.assert_close(made.decode("visual"), torch.stack([2 * x[:, 0], x[:, 1] + 3], dim=1))
    assert made.decode("audio").shape == (CLASSES, 1, 8, 9)
    assert len(prototypes(decoder="identity").gain) == 0


def test_initial_noise_comes_from_the_given_generator():
    a, b = prototypes(init="normal"), prototypes(init="normal")
    assert torch.equal(a.inputs["visual"], b.inputs["visual"])
    assert float(a.inputs["visual"].detach().std()) == pytest.approx(0.1, rel=0.2)


@pytest.mark.parametrize(("cls", "terms"), [("fused", 1), ("fused+unimodal", 3)])
def test_classification_asks_the_fused_head_and_each_readout(cls, terms):
    model, made = build().eval(), prototypes(cls=cls)
    outputs = model(dict(made.inputs.items()))
    loss, accuracy = made.classification(model, outputs)
    y = torch.arange(CLASSES)
    parts = [outputs.logits, *model.readout(outputs.features).values()][:terms]
    torch.testing.assert_close(loss, sum(torch.nn.functional.cross_entropy(logits, y) for logits in parts))
    assert set(accuracy) == {"dap/accuracy", "dap/audio/accuracy", "dap/visual/accuracy"}


def test_weights_of_eq_5():
    model = build().eval()
    made = prototypes(cls_weight=0.0, recon_weight=2.0)
    shift(made, 0.5)
    assert float(made.objective(model, model(dict(made.inputs.items())))[0].detach()) == pytest.approx(0.5)


def test_the_fit_moves_prototypes_and_nothing_of_the_framework():
    model = build().train()
    model.encoders["audio"].bn1.eval()  # someone froze it
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    made = prototypes(init="normal")
    start = made.inputs["visual"].detach().clone()
    log = fit_prototypes(model, made, torch.optim.Adam(made.parameters(), lr=0.02), 40)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not torch.equal(made.inputs["visual"], start)
    assert log["L_cls"][-1] < log["L_cls"][0] and log["L_r"][-1] < log["L_r"][0]
    assert log["step"][-1] == 40 and {len(values) for values in log.values()} == {len(log["step"])}


@pytest.mark.parametrize("cls", ["fused+unimodal", pytest.param("fused", marks=pytest.mark.slow)])
def test_the_fit_ends_early_when_every_readout_asked_tells_all_prototypes_apart(cls):
    model = build()
    warm(model, 30)

    def fit(early_stop):
        made = prototypes(init="normal", cls=cls)
        optimizer = torch.optim.Adam(made.parameters(), lr=0.02)
        return fit_prototypes(model, made, optimizer, 200, early_stop=early_stop)

    whole, early = fit(False), fit(True)
    asked = ["accuracy", *(["audio/accuracy", "visual/accuracy"] if cls != "fused" else [])]
    reached = [all(whole[name][i] == 1 for name in asked) for i in range(len(whole["step"]))]
    first = reached.index(True)
    assert first > 0 and early == {name: values[: first + 1] for name, values in whole.items()}


def test_unsound_prototypes_are_refused_loudly():
    log = {"step": [0, 200], "accuracy": [0.3, 2 / 3], "audio/accuracy": [0.3, 1.0], "visual/accuracy": [0.3, 1 / 3]}
    with pytest.raises(
        UserError, match=r"67 % of the prototypes.*audio 100 %, visual 33 %.*start_epoch 5: raise dap.steps"
    ):
        require_accuracy(log, DAPSettings(), 5)
    require_accuracy(log, DAPSettings(required_accuracy=0.6), 5)
    log["accuracy"][-1] = float("nan")
    with pytest.raises(UserError):
        require_accuracy(log, DAPSettings(required_accuracy=0.6), 5)
