"""Stage operations: counted without values, what real steps count."""

import logging

import pytest
import torch

import tiny_dataset
from equimodal.engines.layout import operations_path
from equimodal.errors import UserError
from equimodal.methods.joint.method import Joint
from equimodal.stages import operations
from equimodal.stages.setup import Setup
from equimodal.stages.steps import Steps
from equimodal.store import read_json

METHODS = {
    "ogm-ge": {"base": "ogm", "ge": True},
    "agm": {},
    "aug": {},
    "opm-ogm": {"base": "opm", "ogm": True},
    "opm": {},
    "mla": {},
    "mmpareto": {},
    "mie": {},
    "mnl": {},
    "lfm": {},
    "dgl": {},
    "finetune": {},
    "frozen": {},
    "ensemble": {},
    "late": {},
    "dr": {},
}


def opened(method, third=False, **overrides):
    return Setup.open(tiny_dataset.params(third, **overrides), "tiny", method, 0)


SLOW = (
    "joint-uni",
    "audio",
    "ogm-ge",
    "agm",
    "opm",
    "opm-ogm",
    "mla",
    "mmpareto",
    "mie",
    "mnl",
    "lfm",
    "dgl",
    "finetune",
    "frozen",
    "ensemble",
    "late",
    "dr",
    "aim-no-pam",
    "aim",
)


@pytest.mark.parametrize("method", ["joint", "aug", *(pytest.param(m, marks=pytest.mark.slow) for m in SLOW)])
def test_as_many_as_real_steps_take_and_nothing_is_computed(tiny, monkeypatch, caplog, method):
    setup = opened(method, methods=METHODS)
    real = operations.counted(Steps(setup))
    kept, made = [], Setup.method

    def keep(self, *means):
        kept.append(made(self, *means))
        return kept[-1]

    monkeypatch.setattr(Setup, "method", keep)
    with caplog.at_level(logging.WARNING, "equimodal"):
        assert operations.training_flops(setup) == real
    assert caplog.messages == [], "without real steps"
    monkeypatch.undo()
    (fresh,) = kept
    again = setup.method(setup.blank_means())
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in fresh.state_dict().items())


@pytest.mark.parametrize("third", [["text", "face"], ["facts", "audio", "visual"]])
def test_of_sequences_and_vectors_and_with_adam(tmp_path, monkeypatch, third):
    monkeypatch.chdir(tmp_path)
    tiny_dataset.write(tmp_path, third)
    setup = opened("aim-no-pam", third, training={"optimizer": {"name": "adam", "lr": 0.01}, "clip_norm": 1.0})
    fake = operations.training_flops(setup)
    assert fake == operations.counted(Steps(setup)) > 0


def test_a_method_that_looks_at_values_takes_real_steps_and_says_so(tiny, monkeypatch, caplog):
    expected = operations.training_flops(opened("joint"))
    plain = Joint.loss

    def looking(self, batch, outputs):
        loss = plain(self, batch, outputs)
        return loss if loss.item() > -1 else -loss

    monkeypatch.setattr(Joint, "loss", looking)
    with caplog.at_level(logging.WARNING, "equimodal"):
        assert operations.training_flops(opened("joint")) == expected
    (said,) = caplog.messages
    assert said.startswith("joint: operations are counted by real steps (DataDependentOutputException")


def test_a_fault_of_the_method_s_own_is_shown(tiny, monkeypatch):
    def broken(self, batch, outputs):
        raise UserError("broken")

    monkeypatch.setattr(Joint, "loss", broken)
    with pytest.raises(UserError, match="broken"):
        operations.training_flops(opened("joint"))


def test_the_file(tiny):
    params = tiny_dataset.params()
    operations.run(params, "tiny", "joint")
    found = read_json(operations_path("tiny", "joint"))
    setup = opened("joint")
    assert found["settings"] == setup.slices("evaluate") and found["data_digest"] == setup.data.manifest["digest"]
    assert found["flops"] == {"training": operations.training_flops(setup)}


def test_aim_costs_more_to_train(tiny):
    costs = {method: operations.training_flops(opened(method)) for method in ("joint", "aim", "aim-no-pam")}
    assert costs["joint"] < costs["aim-no-pam"] < costs["aim"]


@pytest.mark.slow
def test_cost_of_decoupling_is_shared_by_the_steps_between(tiny):
    """With pdm.every = 2 the mean over a cycle holds half of the PDM's own step."""
    training = {
        every: operations.training_flops(opened("aim", methods={"aim": {"pdm": {"every": every}}}))
        for every in (1, 2, 4)
    }
    assert training[1] - training[2] == pytest.approx(2 * (training[2] - training[4]))
    assert training[1] > training[2]
