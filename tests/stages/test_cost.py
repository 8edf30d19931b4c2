"""Stage cost on the tiny dataset, without any trained model."""

from pathlib import Path

import pytest

import tiny_dataset
from equimodal.report.cost_file import Cost
from equimodal.stages import cost


@pytest.fixture
def measured(tiny, monkeypatch):
    """Costs of methods, by few rounds."""
    monkeypatch.setattr(cost, "ROUNDS", (3, 3))

    def of(method):
        cost.run(tiny_dataset.params(), "tiny", method)
        return Cost.read(Path(f"results/cost/tiny_{method}.json"))

    return of


def test_joint_costs_what_joint_costs(measured, tiny):
    found = measured("joint")
    assert found.memory.peak == found.memory.peak_joint > 0
    assert found.weights.model == found.weights.joint and found.weights.beside == 0
    assert 0.5 < found.time.ratio < 2, "as much as a busy machine allows"
    assert len(found.time.ratios) == 3 and found.time.quartiles[0] <= found.time.ratio <= found.time.quartiles[1]
    assert found.machine.device == "cpu" and found.machine.torch and found.batch_size == 16
    assert not (tiny / "models").exists() and not (tiny / ".checkpoints").exists()


def test_aim_costs_more_and_one_modality_less(measured):
    aim, audio = measured("aim"), measured("audio")
    assert aim.time.ratio > 1.5 and aim.memory.peak > 1.3 * aim.memory.peak_joint
    assert aim.weights.beside > 0 and aim.time.cycle == 2, "pdm.every"
    assert audio.memory.peak < audio.memory.peak_joint and audio.weights.model < audio.weights.joint


def test_the_processor_s_name(tmp_path):
    (tmp_path / "info").write_text("processor: 0\nmodel name\t: A B 3\nmodel name\t: A B 3\n")
    assert cost.processor(tmp_path / "info") == "A B 3"
    assert cost.processor(tmp_path / "absent")
