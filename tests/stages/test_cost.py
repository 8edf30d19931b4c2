"""Stage cost on the tiny dataset, without any trained model."""

from pathlib import Path

import pytest
import torch

import tiny_dataset
from equimodal.engines.layout import reference_path, warmup_path
from equimodal.errors import UserError
from equimodal.evaluation.operations import Dispatched
from equimodal.report.cost_file import Cost, Reference
from equimodal.stages import cost, prototypes, reference, train, warmup
from equimodal.store import read_json, write_json


@pytest.fixture
def measured(tiny, monkeypatch):
    """Costs of methods, by few rounds."""
    monkeypatch.setattr(cost, "ROUNDS", (3, 3))

    def of(method, **overrides):
        params = tiny_dataset.params(**overrides)
        if not reference_path("tiny").exists():
            reference.run(params, "tiny")
        cost.run(params, "tiny", method)
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


def test_aim_costs_more(measured):
    aim = measured("aim")
    assert aim.time.ratio > 1.5 and aim.memory.peak > 1.3 * aim.memory.peak_joint
    assert aim.weights.beside > 0 and aim.time.cycle == 2, "pdm.every"
    run = aim.run
    assert run.fit is run.seconds is run.ratio is None and run.seconds_joint > 0, "a fit without its warm-up"
    weights, joint = 4 * aim.weights.joint, aim.epoch_joint
    assert weights < joint.model_bytes < 1.2 * weights, "and the buffers"
    assert 2 * weights < joint.state_bytes < 2.5 * weights, "weights and momentum"
    assert joint.state_bytes < aim.epoch.state_bytes, "prototypes with Adam's two moments"
    assert aim.epoch.state_bytes < joint.state_bytes + 3 * 4 * aim.weights.beside, "and no decoupling"


def test_what_a_method_does_after_an_epoch_counts(measured):
    """`late` passes the validation split, joint training does nothing."""
    late = measured("late", methods={"late": {}})
    assert late.epoch.seconds_end > 10 * late.epoch_joint.seconds_end
    assert late.epoch.seconds_end > 0.1 * late.epoch.seconds_evaluate


@pytest.mark.slow
def test_one_modality_costs_less(measured):
    audio = measured("audio")
    assert audio.memory.peak < audio.memory.peak_joint and audio.weights.model < audio.weights.joint


def test_the_processor_s_name(tmp_path):
    (tmp_path / "info").write_text("processor: 0\nmodel name\t: A B 3\nmodel name\t: A B 3\n")
    assert reference.processor(tmp_path / "info") == "A B 3"
    assert reference.processor(tmp_path / "absent")


def test_joint_alone_is_measured_once(measured, monkeypatch):
    first = measured("joint")
    kept = reference_path("tiny").read_bytes()
    alone = Reference.read(reference_path("tiny")).pieces
    assert first.memory.peak == alone.peak and first.epoch == first.epoch_joint == alone.epoch
    measured_alone = []
    real = cost.measured
    monkeypatch.setattr(cost, "measured", lambda setup: measured_alone.append(setup.resolved.name) or real(setup))
    measured("joint")
    other = measured("joint-uni")
    assert measured_alone == ["joint-uni"] and reference_path("tiny").read_bytes() == kept
    assert other.memory.peak_joint == alone.peak and other.operations_joint == alone.operations < other.operations


def test_a_reference_of_elsewhere_is_refused(measured, tiny):
    reference.run(tiny_dataset.params(), "tiny")
    content = read_json(reference_path("tiny"))
    machine = {**content["machine"], "cpu": "another"}
    for changed, other in {"machine": machine, "data_digest": "0" * 64, "settings_digest": "0" * 64}.items():
        write_json(reference_path("tiny"), {**content, changed: other})
        with pytest.raises(UserError, match=r"results/cost/reference/tiny\.json was measured on another machine"):
            measured("joint")


def test_a_run_is_the_sum_of_its_pieces(measured):
    found = measured("joint-uni")
    run, time = found.run, found.time
    assert (run.epochs, run.warmup_epochs, run.steps, run.fit, run.starts) == (3, 0, 4, None, {})
    joint, own = (each.seconds for each in (found.epoch_joint, found.epoch))
    assert run.seconds_joint == pytest.approx(3 * (4 * time.seconds_joint + joint))
    assert run.seconds == pytest.approx(3 * (4 * time.seconds_joint * time.ratio + own))
    assert run.ratio == run.seconds / run.seconds_joint
    epoch = found.epoch
    assert min(epoch.seconds_feed, epoch.seconds_evaluate, epoch.seconds_save) > 0
    assert epoch.seconds == pytest.approx(
        sum(getattr(epoch, f"seconds_{part}") for part in ("begin", "end", "feed", "evaluate", "save"))
    )


@pytest.mark.slow
def test_a_fit_counts_as_its_stage_took_or_as_it_takes_again(measured, tiny):
    params = tiny_dataset.params()
    warmup.run(params, "tiny", "aim", 0)
    again = measured("aim").run
    assert again.fit.measured == "again" and again.fit.seconds > 0
    prototypes.run(params, "tiny", "aim", 0)
    (times,) = [path for path in Path(".equimodal/times").iterdir() if "work" in read_json(path)]
    write_json(times, {**read_json(times), "work": {"cpu": 1234.5}})
    for method in ("aim", "aim-no-pam"):  # which share it
        found = measured(method)
        assert found.run.fit.measured == "stage" and found.run.fit.seconds == 1234.5
    joint, own = (each.seconds for each in (found.epoch_joint, found.epoch))
    steps = (1 + 2 * found.time.ratio) * 4 * found.time.seconds_joint
    assert found.run.seconds == pytest.approx(steps + joint + 2 * own + 1234.5)
    assert warmup_path("tiny", "aim", 0).is_file()


def test_what_training_took_counts_all_that_it_starts_from(measured, tiny):
    params = tiny_dataset.params()
    train.run(params, "tiny", "joint", 0)
    run = measured("joint").run
    assert run.trained > 0 and run.trained_ratio == run.trained / run.seconds_joint
    assert cost.trained(params, cost.opened(params, "tiny", "aim")) is None, "nothing was trained"
    warmup.run(params, "tiny", "aim", 0)
    prototypes.run(params, "tiny", "aim", 0)
    assert cost.trained(params, cost.opened(params, "tiny", "aim")) is None, "the training itself is missing"
    train.run(params, "tiny", "aim", 0)
    for seconds, path in enumerate(sorted(Path(".equimodal/times").iterdir())):
        assert read_json(path)["work"].keys() == {"cpu"}
        write_json(path, {**read_json(path), "work": {"cpu": 10.0**seconds}})
    joint, aim = (cost.trained(params, cost.opened(params, "tiny", method)) for method in ("joint", "aim"))
    assert joint + aim == 1111.0, "joint's, and AIM's warm-up, fit and training"


@pytest.mark.slow
def test_models_that_it_starts_from_count(measured):
    found = measured("finetune", methods={"finetune": {}})
    assert found.run.starts.keys() == {"audio", "visual"} and min(found.run.starts.values()) > 0
    assert found.run.seconds > sum(found.run.starts.values()) and found.run.ratio > 1.2


@pytest.mark.slow
def test_a_run_that_trains_nothing_costs_what_it_starts_from(measured):
    found = measured("ensemble", methods={"ensemble": {}})
    run, starts = found.run, sum(found.run.starts.values())
    assert (run.epochs, set(run.starts)) == (1, {"audio", "visual"})
    step = found.time.seconds_joint * found.time.ratio
    assert run.seconds == pytest.approx(starts + 4 * step + found.epoch.seconds)
    assert run.seconds_joint == pytest.approx(3 * (4 * found.time.seconds_joint + found.epoch_joint.seconds))
    assert found.time.ratio < 0.8 and found.weights.beside == 0


def test_every_operation_that_computes_counts():
    with Dispatched() as operations:
        (torch.ones(3) + 1).relu()
    assert (operations.count, operations.idle) == (3, 0)
    values = torch.ones(2, 3)
    with Dispatched() as operations:
        values.detach().view(3, 2).t()[0].unsqueeze(0).expand(4, -1)
        torch.empty(3), torch.empty_like(values), values.new_empty(2)
        values.sum()
    assert (operations.count, operations.idle) == (1, 9)
