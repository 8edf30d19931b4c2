"""Stage tune: the same number of runs for every method, on validation alone."""

from pathlib import Path
from typing import Any

import pytest

import tiny_dataset
from equimodal.engines.layout import tuning_path
from equimodal.errors import UserError
from equimodal.params import Params, parse_params
from equimodal.stages import prototypes, train, tune, unimodal, warmup
from equimodal.store import read_json
from equimodal.training import loop

SEARCH = {"ogm": {"alpha": [0.3, 0.8, 1.5, 2.6], "ge": [True, False]}, "aim": {"lambda_mod": [1.0, 6.0]}}


def params_with(**tuning: Any) -> Params:
    methods: dict[str, Any] = {"ogm": {"alpha": 1.5}, "frozen": {}, "pmr": {}}
    return tiny_dataset.params(methods=methods, tuning={"trials": 3, "search": SEARCH} | tuning)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny_dataset.write(tmp_path)
    return tmp_path


def order(choices: dict[str, list[Any]], now: dict[str, Any], seed: int = 100) -> list[dict[str, Any]]:
    search = tune.Search(choices, now, seed)
    found = []
    for _ in range(len(search)):
        found.append(search.ask())
        search.tell(0.5)
    return found


def test_the_first_trial_is_as_set_and_no_other_is_like_it() -> None:
    now = {"alpha": 1.5, "ge": False}
    found = order(SEARCH["ogm"], now)
    assert found[0] == now and len(found) == 8
    assert len({tuple(each.items()) for each in found}) == 8, "every combination once"
    assert found == order(SEARCH["ogm"], now)
    assert found != order(SEARCH["ogm"], now, seed=101), "the seed draws the order"
    assert order({"alpha": [0.1, 0.2]}, {"alpha": 0.7})[0] == {"alpha": 0.7}, "what is set need not be a choice"
    assert order({"lengths": [[1, 2], None]}, {"lengths": None})[1] == {"lengths": [1, 2]}
    assert order({}, {}) == [{}], "nothing to choose: one run"


def test_a_variant_has_its_base_s_search_and_its_own_values() -> None:
    raw = tiny_dataset.raw_params(
        methods={"ogm": {}, "strong": {"base": "ogm", "alpha": 2.6}}, tuning={"search": SEARCH}
    )
    params = parse_params(raw)
    assert params.search_of("strong") == SEARCH["ogm"] and params.search_of("joint") == {}


def test_trials_are_ranked_on_validation_and_never_see_the_test_split(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    predict = loop.predict
    monkeypatch.setattr(
        loop, "predict", lambda model, data, split, size: (seen.append(split), predict(model, data, split, size))[1]
    )
    tune.run(params_with(), "tiny", "ogm")
    found = read_json(tuning_path("tiny", "ogm"))
    assert set(seen) == {"val"} and "test" not in "".join(found["trials"][0])
    assert len(found["trials"]) == 3 and found["meta"]["seed"] == 100
    best = max(trial["val/accuracy"] for trial in found["trials"])
    assert next(t for t in found["trials"] if t["settings"] == found["best"])["val/accuracy"] == best
    assert not list(Path(".checkpoints").glob("tune*"))


def test_a_trial_is_the_run_that_those_settings_give(tiny: Path) -> None:
    tune.run(params_with(trials=2), "tiny", "ogm")
    second = read_json(tuning_path("tiny", "ogm"))["trials"][1]
    changed = params_with().with_method("tiny", "ogm", second["settings"])
    train.run(changed, "tiny", "ogm", 100)
    curves = read_json(Path("models/tiny/ogm/100/curves.json"))
    assert curves["selected"]["val"] == second["epoch"]
    assert curves["epochs"][second["epoch"]]["metrics"]["val/accuracy"] == second["val/accuracy"]


def test_killed_between_trials_and_within_one_it_gives_the_same_bytes(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune.run(params_with(), "tiny", "ogm")
    whole = tuning_path("tiny", "ogm").read_bytes()
    tuning_path("tiny", "ogm").unlink()
    epochs: list[int] = []
    select = loop.Loop._select

    def dies(self: loop.Loop, epoch: int, metrics: dict[str, float]) -> None:
        epochs.append(epoch)
        if len(epochs) == 5:
            raise KeyboardInterrupt
        select(self, epoch, metrics)

    monkeypatch.setattr(loop.Loop, "_select", dies)
    with pytest.raises(KeyboardInterrupt):
        tune.run(params_with(), "tiny", "ogm")
    assert len(list(Path(".checkpoints").glob("tune*"))) == 2
    tune.run(params_with(), "tiny", "ogm")
    assert tuning_path("tiny", "ogm").read_bytes() == whole
    assert len(epochs) == 5 + 1 + 1 + 3, "of nine epochs one was done twice"


@pytest.mark.slow
def test_methods_that_start_from_others(tiny: Path) -> None:
    params = params_with(trials=2)
    warmup.run(params, "tiny", "aim", 100)
    prototypes.run(params, "tiny", "aim", 100)
    tune.run(params, "tiny", "aim")
    assert len(read_json(tuning_path("tiny", "aim"))["trials"]) == 2
    for name in ("audio", "visual"):
        train.run(params, "tiny", name, 100)
        unimodal.run(params, "tiny", name, 100)
    tune.run(params, "tiny", "frozen")
    assert read_json(tuning_path("tiny", "frozen"))["best"] == {}


@pytest.mark.parametrize(
    ("tuning", "said"),
    [
        ({"search": {"ogm": {"alfa": [1.0]}}}, r"tuning\.search\.ogm\.alfa: unknown key"),
        ({"search": {"ogm": {"alpha": [-1.0]}}}, r"tuning\.search\.ogm\.alpha: .*alpha"),
        ({"search": {"ogm": {"alpha": []}}}, r"tuning\.search\.ogm\.alpha is empty: list the values to try"),
        ({"search": {"ogn": {"alpha": [1.0]}}}, "unknown method 'ogn'"),
        ({"search": {"aim": {"start_epoch": [1, 2]}}}, "changes the warm-up or the prototypes, which trials share"),
        ({"seed": 0}, "tuning.seed = 0 is a seed of a study too"),
    ],
)
def test_a_search_that_cannot_be_is_refused_when_it_is_read(tuning: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        params_with(**tuning)
