"""Reading params.yaml: what each section must be by itself, and that the names in it fit each other."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from equimodal.datasets.registry import KINDS
from equimodal.errors import UserError
from equimodal.methods.registry import Family
from equimodal.params import places
from equimodal.params.bases import with_base
from equimodal.params.resolve import Params
from equimodal.params.studies import judged_pairs, paper_study
from equimodal.params.text import LARGEST, read_yaml
from equimodal.settings.base import describe, hint, nearest
from equimodal.settings.datasets import DatasetSettings
from equimodal.settings.method import WarmupSettings
from equimodal.settings.studies import OF_PROTOTYPES

T = TypeVar("T")


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check params.yaml, the study's names included.

    Raises:
        UserError: missing file, YAML error, unknown key (with the nearest valid one), wrong type, unknown name.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            text = file.read(4 * LARGEST + 1).decode()  # no more of what is no params.yaml than shows that
    except FileNotFoundError:
        raise UserError(
            f"{path} not found: run in the project's root folder (where the Snakefile is), or make one: equimodal init"
            " FOLDER"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8") from None
    return parse_params(read_yaml(text, str(path)))


def parse_params(raw: Any) -> Params:
    """Check a params.yaml that is already a dict (as an engine read it).

    A mistake in the entry of one dataset is kept for those who ask for that dataset (`Params.broken`).

    Raises:
        UserError: a mistake anywhere else; in an entry when no dataset is without.
    """
    if not isinstance(raw, dict):
        raise UserError("params.yaml is empty or not a mapping of sections")
    written = raw["datasets"] if isinstance(raw.get("datasets"), dict) else {}
    broken: dict[str, str] = {}
    entries = dict(_judged(written, lambda name: with_base(written, name), broken))
    params = _read({**raw, "datasets": entries} if written else raw, written, broken)
    # before the rest is resolved, which may take place in this order only
    params = params.without_broken(broken, written)
    whole = dict(_judged(params.datasets, lambda name: _check_dataset(params, name), broken))
    if written and not whole:
        raise UserError(next(iter(broken.values())))
    params = params.without_broken(broken, written)
    _check_shared(params)
    _check_study(params)
    for name in params.studies:
        _check_paper_study(params, name)
    for name in (*params.study.tables, *params.study.figures):
        if name not in params.studies:
            paper_study(params, name)
    _check_search(params)
    return params


def _judged(names: Iterable[str], judge: Callable[[str], T], broken: dict[str, str]) -> Iterator[tuple[str, T]]:
    """(name, what `judge` makes of it), without those that it refuses: they come to `broken`."""
    for name in list(names):
        try:
            yield name, judge(name)
        except UserError as error:
            broken[name] = str(error)


def _read(raw: dict[str, Any], written: Mapping[str, Any], broken: dict[str, str]) -> Params:
    """The sections by themselves, without the datasets that are none: they come to `broken`."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    of: dict[str, list[ErrorDetails]] = {}
    for problem in problems:
        place = problem["loc"]
        if place[0] != "datasets" or len(place) < 2:
            raise UserError(describe(Params, problems, "", raw))
        of.setdefault(str(place[1]), []).append({**problem, "loc": place[2:]})
    for name, own in of.items():
        entry = raw["datasets"][name]
        kind = KINDS.get(str(entry.get("kind"))) if isinstance(entry, dict) else None
        model = kind.load_settings() if kind else DatasetSettings
        broken[name] = describe(model, own, f"datasets.{name}", entry, places.of_entry(written, name))
    kept = {name: entry for name, entry in raw["datasets"].items() if name not in of}
    if not kept:
        raise UserError(next(iter(broken.values())))
    return Params.read({**raw, "datasets": kept}, "")


def _check_dataset(params: Params, name: str) -> None:
    """What a dataset overrides is right, and every method that it says something of."""
    params.encoders_of(name)
    params.weights_of(name)
    params.training_of(name)
    overrides, known = params.datasets[name].methods, params.method_names
    for override in overrides:
        if override not in known:
            raise UserError(
                f"params.yaml: {places.place(params, name, 'methods', override)} is not in `methods`"
                + hint(override, known)
            )
    for method in params.methods:
        if any(link in overrides for link in params.chain(method)):
            params.method(name, method)


def _check_shared(params: Params) -> None:
    """What is said of methods and models for all datasets."""
    for method in params.methods:
        chain = params.chain(method)
        plain = (name for name, data in params.datasets.items() if not any(link in data.methods for link in chain))
        for name in islice(plain, 1):  # the others resolve it to the same
            params.method(name, method)
    modalities = {name for settings in params.datasets.values() for name in settings.modalities}
    for name in params.model.weights_for or ():
        if name not in modalities and not params.broken:
            raise UserError(
                f"params.yaml: model.weights_for names '{name}', which no dataset has"
                + nearest(name, sorted(modalities))
            )


def _check_search(params: Params) -> None:
    """Every value that tuning may choose is a setting of its method, and none changes what it starts from."""
    tuning = params.tuning
    dataset = params.first
    for method, search in tuning.search.items():
        own = params.method(dataset, method)
        for key, values in search.items():
            where = f"params.yaml: tuning.search.{method}.{key}"
            if not values:
                raise UserError(f"{where} is empty: list the values to try")
            for value in values:
                try:
                    settings = params.with_method(dataset, method, {key: value}).method(dataset, method).settings
                except UserError as error:
                    raise UserError(f"{where}: {str(error).removeprefix('params.yaml: ')}") from None
                if isinstance(settings, WarmupSettings) and settings.fit != own.warm.fit:
                    raise UserError(
                        f"{where} changes the warm-up or the prototypes, which trials share: make it a variant"
                    )
    used = {seed for study in params.studies.values() for seed in study.seeds or ()} | set(params.study.seeds)
    if tuning.search and tuning.seed in used:
        raise UserError(
            f"params.yaml: tuning.seed = {tuning.seed} is a seed of a study too: a result would be tuned on itself"
        )


def _check_paper_study(params: Params, name: str) -> None:
    """Its datasets and methods exist, some of the pairs can be run, and what it shows is measured."""
    study = params.studies[name]
    for dataset in study.datasets:
        if dataset in params.broken:
            return  # whoever asks for the study is told
        params.dataset(dataset)
    for method in study.methods:
        family = params.family(method)
        if study.show in OF_PROTOTYPES and family != "from-warmup":
            raise UserError(
                f"params.yaml: studies.{name} shows {study.show}, which '{method}' does not have: name variants of aim"
            )
    # At the first pair that works this ends: every command reads params.yaml.
    reasons: list[str] = []
    for _, why in judged_pairs(params, study):
        if why is None:
            break
        reasons.append(why)
    else:
        raise UserError(f"params.yaml: no method of studies.{name} works with its datasets: {reasons[0]}")
    for key, listed in (("tables", params.study.tables), ("figures", params.study.figures)):
        if name in listed:
            _check_listed(params, name, key)


def _check_listed(params: Params, name: str, key: str) -> None:
    """What `study` draws of `studies` is of its kind, and of runs that it has."""
    found, study = paper_study(params, name), params.study
    if found.settings.is_table != (key == "tables"):
        raise UserError(
            f"params.yaml: study.{key} lists '{name}', which shows {found.settings.show}: list it in the other"
        )
    missing = [
        *(f"dataset {d}" for d in dict.fromkeys(d for d, _ in found.pairs) if d not in study.datasets),
        *(f"method {m}" for m in dict.fromkeys(m for _, m in found.pairs) if m not in study.methods),
        *(f"seed {seed}" for seed in found.seeds if seed not in study.seeds),
    ]
    if missing:
        raise UserError(
            f"params.yaml: study.{key} lists '{name}', but study lacks {', '.join(missing)}: `equimodal study {name}`"
            " prints a section that has them"
        )


def _check_study(params: Params) -> None:
    """The study's methods fit its datasets, stand in the list of their family, and what they start from is listed
    too.
    """
    study = params.study
    datasets = [name for name in study.datasets if name not in params.broken]
    for dataset in datasets:
        params.dataset(dataset)
    families: dict[Family, list[str]] = {
        "from-scratch": study.from_scratch,
        "from-warmup": study.from_warmup,
        "from-unimodal": study.from_unimodal,
    }
    for key, owners in (("warmups", study.warmups), ("fits", study.fits)):
        for name in owners:
            if params.family(name) != "from-warmup":
                raise UserError(f"params.yaml: study.{key} lists '{name}', which is trained from scratch and has none")
    for name in study.unimodal:
        if name not in study.from_scratch:
            raise UserError(
                f"params.yaml: study.unimodal lists '{name}', whose training study.from-scratch does not list"
                + hint(name, study.from_scratch)
            )
    for family, names in families.items():
        for name in names:
            for dataset in datasets:
                params.check_pair(dataset, name)
            own = params.family(name)
            if own != family:
                raise UserError(f"params.yaml: study.{family} lists '{name}', which belongs in study.{own}")
            for dataset in datasets:
                for key, needed in params.starts_of(dataset, name):
                    if needed not in getattr(study, key.replace("-", "_")):
                        raise UserError(
                            f"params.yaml: study.{family} lists '{name}', which needs '{needed}' in study.{key}"
                        )
