"""What the stages' files say; no mlflow here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equimodal.store import read_json, write_json
from equimodal.tracking import clock
from equimodal.tracking.files import Record, records, results
from equimodal.tracking.measures import headline, leaves


def test_every_stage_of_a_result_becomes_a_run(
    tmp_path: Path, write_study: Callable[[Path], None], write_warmup: Callable[[Path], None]
) -> None:
    write_study(tmp_path)
    write_warmup(tmp_path)
    assert results(tmp_path) == [("toy", "aim"), ("toy", "joint")]
    found = list(records(tmp_path, "toy", "aim", []))
    names = [
        "aim (sample)",
        "train 0 aim (sample)",
        "train 1 aim (sample)",
        "evaluate 0 aim (sample)",
    ]
    names += [
        "evaluate 1 aim (sample)",
        "prototypes 0 aim (sample)",
        "warmup 0 aim (sample)",
    ]
    assert [record.info.name for record in found] == names
    points = {record.info.name: [(step, metrics) for step, metrics, _ in record.points] for record in found}
    assert points["aim (sample)"] == [
        (0, {"accuracy": 0.65, "z/selection.val/accuracy/mean": 0.65, "z/selection.val/accuracy/std": 0.05})
    ]
    assert points["train 1 aim (sample)"] == [
        (0, {"train/loss": 1.0, "val/accuracy": 0.5}),
        (1, {"train/loss": 0.5, "val/accuracy": 0.6}),
    ]
    assert points["evaluate 1 aim (sample)"] == [
        (0, {"accuracy": 0.7, "z/selection.val/epoch": 1, "z/selection.val/test/accuracy": 0.7})
    ]
    assert points["prototypes 0 aim (sample)"] == [
        (0, {"dap/accuracy": 0.2, "pdm/audio": 0.3, "tau": 1.5}),
        (10, {"dap/accuracy": 1.0}),
    ]
    assert points["warmup 0 aim (sample)"] == [(0, {"train/loss": 2.0})]
    assert [path.name for path, _ in found[0].artifacts] == ["toy_aim.json", "curves.svg"]


def test_two_methods_have_the_same_parameters(tmp_path: Path, write_study: Callable[[Path], None]) -> None:
    write_study(tmp_path)
    aim, joint = (next(records(tmp_path, "toy", method, [])).info.parameters() for method in ("aim", "joint"))
    assert aim.keys() == joint.keys() == {"training.epochs", "training.optimizer.lr", "method.name", "model.layers"}
    assert {key for key in aim if aim[key] != joint[key]} == {"method.name"}


def test_numbers_are_named_by_their_path() -> None:
    spread = {"mean": 1, "std": None, "per_seed": [1], "interval95": [0, 2]}
    content = {
        "split": {"fold": 3},
        "settings": {"lr": 1},
        "selection": {"val": {"f1": spread, "modalities": {"split": {"audio": 2}}}},
        "imbalance": {"alpha": [{"mean": 4}, {"mean": 5}], "s": {"audio": [{"mean": 6}]}},
        "s": {"audio": [7.5, float("nan")]},
        "alpha": None,
        "ok": True,
    }
    assert leaves(content) == {
        "selection.val/f1/mean": 1,
        "selection.val/f1/interval95/low": 0,
        "selection.val/f1/interval95/high": 2,
        "selection.val/modalities/split/audio": 2,
        "imbalance/alpha/depth1/mean": 4,
        "imbalance/alpha/depth2/mean": 5,
        "imbalance/s/audio/depth1/mean": 6,
        "s/audio/depth1": 7.5,
    }


def test_a_result_without_models_is_a_run_too(tmp_path: Path) -> None:
    write_json(tmp_path / "results" / "toy_aim.json", {"source": "sample", "selection": {}})
    (record,) = records(tmp_path, "toy", "aim", [])
    assert record.info.name == "aim (sample)" and record.info.key == "toy_aim"


@pytest.mark.parametrize("content", [{"epochs": []}, [], {"meta": {"dataset": "toy"}}])
def test_a_file_of_another_form_is_named(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "models" / "toy" / "joint" / "0" / "curves.json"
    write_json(path, content)
    write_json(tmp_path / "results" / "toy_joint.json", {"source": "sample"})
    problems: list[str] = []
    assert [record.info.stage for record in records(tmp_path, "toy", "joint", problems)] == ["result"]
    assert len(problems) == 1 and "models/toy/joint/0/curves.json" in problems[0]


def by_stage(root: Path) -> dict[str, Record]:
    """Stage of aim, seed 0 (or `result`) -> its record."""
    return {record.info.stage: record for record in records(root, "toy", "aim", []) if record.info.seed in (None, 0)}


def test_a_run_has_its_stages_own_times(
    tmp_path: Path,
    write_study: Callable[[Path], None],
    write_warmup: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path)
    write_warmup(tmp_path)
    for record in by_stage(tmp_path).values():
        assert record.started < record.ended  # where no file knows: an epoch counts one second
    assert by_stage(tmp_path)["train"].ended - by_stage(tmp_path)["train"].started == 2000
    content = by_stage(tmp_path)["evaluate"].content
    clock.end("aim-0-evaluate", 1_000_000)
    known = clock.span(tmp_path, "aim-0-evaluate")
    found = by_stage(tmp_path)
    assert known is not None and known[0] == 1_000_000 < known[1]
    assert (found["evaluate"].started, found["evaluate"].ended) == known
    assert found["evaluate"].content == content  # when it ran is no news of what it found
    assert found["result"].started == 1_000_000 and found["result"].ended >= known[1]


def test_a_stage_begins_with_its_command_and_goes_on_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ticks = iter(range(0, 1000, 10))
    monkeypatch.setattr(clock, "now", lambda: next(ticks))
    with clock.command():
        assert clock.begun() == clock.begun() == clock.start("a") == 0
    assert clock.span(Path(), "a") is None  # not ended
    assert clock.start("a", goes_on=True) == 0
    assert clock.start("a") == 10  # called as a function
    clock.end("a", 10)
    assert clock.span(Path(), "a") == (10, 20)
    clock.end("b", 30)
    assert clock.span(Path(), "b") == (30, 31)  # never empty, however coarse the clock
    (tmp_path / clock.FOLDER / "a.json").write_text("[")
    assert clock.span(Path(), "a") is None


def test_a_folder_that_cannot_be_written_fails_no_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".equimodal").write_text("a file in the way")
    clock.end("a", clock.start("a"))


def test_a_result_comes_down_to_its_test_accuracies() -> None:
    measures = {"accuracy": 0.8, "macro_f1": 0.7, "modalities": {"zero-feature": {"text": 0.1}, "split": {"text": 0.5}}}
    evaluation = {"selection": {"val": {"epoch": 3, "test": measures, "val": {"accuracy": 0.9}}, "last": {}}}
    assert headline(evaluation) == {"accuracy": 0.8, "macro_f1": 0.7, "accuracy_text": 0.5}
    spread = {"mean": 2.5, "std": None, "per_seed": [2.5]}
    alone = {"zero-feature": {"text": spread}}
    regression = {"selection": {"val": {"accuracy": spread, "modalities": alone, "errors": {"mae": spread}}}}
    assert headline(regression) == {"accuracy": 2.5, "mae": 2.5, "accuracy_text": 2.5}
    assert headline({}) == {}


@pytest.mark.parametrize("change", [{}, {"epoch": 0}, {"settings": {"training": {"epochs": 3}}}])
def test_an_evaluation_names_the_training_that_it_measured(
    change: dict[str, Any], tmp_path: Path, write_study: Callable[[Path], None]
) -> None:
    write_study(tmp_path)
    path = tmp_path / "models" / "toy" / "aim" / "0" / "evaluation.json"
    content = read_json(path)
    content["selection"]["val"] |= {key: value for key, value in change.items() if key == "epoch"}
    content["meta"] |= {key: value for key, value in change.items() if key == "settings"}
    write_json(path, content)
    assert by_stage(tmp_path)["evaluate"].measured == (None if change else "aim-0-train")
    path.with_name("curves.json").unlink()
    assert by_stage(tmp_path)["evaluate"].measured is None
