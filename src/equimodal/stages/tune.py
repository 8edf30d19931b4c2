"""Stage tune: settings of one method tried on validation, the same number of runs for every method, as
results/tuning/D_M.json. The test split is not looked at.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from equimodal.datasets.small_splits import warn_of_small_splits
from equimodal.engines.layout import tuning_path
from equimodal.params import Params
from equimodal.settings.base import deep_merge
from equimodal.stages.running import Run, start_files
from equimodal.stages.setup import Setup
from equimodal.store import write_json
from equimodal.training.device import is_first_process


def run(params: Params, dataset: str, method: str) -> None:
    """Train `tuning.trials` runs with the seed of `tuning`, each with other values of `tuning.search`, the first with
    those of params.yaml; fewer where there are fewer combinations.

    A killed stage goes on where its last epoch ended.
    """
    tuning = params.tuning
    blind = without_test(params, dataset)
    found: list[dict[str, Any]] = []
    ranks: list[list[float]] = []
    runs: list[Run] = []
    own = params.method(dataset, method).settings.slice()
    choices = params.search_of(method)
    search = Search(choices, {key: own[key] for key in choices}, tuning.seed)
    for number in range(min(tuning.trials, len(search))):
        values = search.ask()
        changed = blind.with_method(dataset, method, values)
        changed.check_pair(dataset, method)
        setup = Setup.open(changed, dataset, method, tuning.seed)
        inputs = start_files(params, dataset, method, tuning.seed)
        with Run(setup, "tune", setup.key("tune", inputs), part=f"-{number}") as trial:
            loop = trial.begun(inputs)
            trial.train(loop)
        runs.append(trial)
        epoch = loop.progress.selected["val"]
        measured = loop.progress.history[epoch]["metrics"]
        ranks.append(loop.progress.best["val"])
        search.tell(ranks[-1][0])
        measure = setup.data.objective.measure
        found.append({"settings": values, "epoch": epoch, f"val/{measure}": measured[f"val/{measure}"]})
        print(f"trial {number}: {values or 'nothing to choose'}: {found[-1]}", file=sys.stderr, flush=True)
    if not is_first_process():
        return
    best = max(range(len(found)), key=lambda i: (ranks[i], -i))
    content = {
        "meta": runs[0].setup.meta("tune", ""),  # whose settings are those of params.yaml
        "search": choices,
        "trials": found,
        "best": found[best]["settings"],
    }
    write_json(tuning_path(dataset, method), content)
    manifest = runs[0].setup.data.manifest
    held = {split: row for split, row in manifest["split"]["counts"].items() if split == "val"}
    warn_of_small_splits(held, dataset, manifest["task"] == "classification")
    for each in runs:
        each.discard()
    print(f"best: datasets.{dataset}.methods: {{{method}: {found[best]['settings']}}}", file=sys.stderr)


class Search:
    """Combinations of values to try, none twice: first what params.yaml sets, then what optuna proposes.

    Args:
        choices: setting -> values.
        now: setting -> its value in params.yaml, tried first whether or not it is a choice.
        seed: of optuna's sampler.
    """

    def __init__(self, choices: Mapping[str, Sequence[Any]], now: Mapping[str, Any], seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.choices = {key: [now[key], *(v for v in values if v != now[key])] for key, values in choices.items()}
        self.study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        self.study.enqueue_trial(dict.fromkeys(self.choices, 0))
        self.scores: dict[tuple[int, ...], float] = {}

    def __len__(self) -> int:
        """Combinations there are."""
        return math.prod(map(len, self.choices.values()))

    def ask(self) -> dict[str, Any]:
        """The next combination; at most `len` times, each followed by `tell`."""
        while True:
            self.trial = self.study.ask()
            # By place: optuna's categories are plain values, ours may be lists.
            self.places = tuple(
                self.trial.suggest_categorical(key, range(len(values))) for key, values in self.choices.items()
            )
            if self.places not in self.scores:
                return {key: values[at] for (key, values), at in zip(self.choices.items(), self.places, strict=True)}
            self.study.tell(self.trial, self.scores[self.places])

    def tell(self, score: float) -> None:
        """How good the last combination was; more is better."""
        self.scores[self.places] = score
        self.study.tell(self.trial, score)


def without_test(params: Params, dataset: str) -> Params:
    """The same without a measurement on the test split, and without tracking: trials are no results."""
    data = params.dataset(dataset)
    training = deep_merge(data.training, {"test_every_epoch": False})
    tracking = params.tracking.model_copy(update={"enabled": False})
    datasets = {**params.datasets, dataset: data.model_copy(update={"training": training})}
    return params.model_copy(update={"datasets": datasets, "tracking": tracking})
