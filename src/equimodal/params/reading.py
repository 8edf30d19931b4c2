"""Reading params.yaml: what each section must be by itself, and that the names in it fit each other."""

from pathlib import Path
from typing import Any

from equimodal.errors import UserError
from equimodal.methods.registry import Family
from equimodal.params.bases import with_bases
from equimodal.params.resolve import Params
from equimodal.params.studies import judged_pairs, paper_study
from equimodal.params.text import read_yaml
from equimodal.settings.base import hint, nearest
from equimodal.settings.method import WarmupSettings
from equimodal.settings.studies import OF_PROTOTYPES


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check params.yaml, the study's names included.

    Raises:
        UserError: missing file, YAML error, unknown key (with the nearest valid one), wrong type, unknown name.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{path} not found: run in the project's root folder (where the Snakefile is), or make one: equimodal init"
            " FOLDER"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8") from None
    return parse_params(read_yaml(text, str(path)))


def parse_params(raw: Any) -> Params:
    """Check a params.yaml that is already a dict (as an engine read it)."""
    if not isinstance(raw, dict):
        raise UserError("params.yaml is empty or not a mapping of sections")
    params = Params.read({**raw, "datasets": with_bases(raw["datasets"])} if "datasets" in raw else raw, "")
    modalities = {name for settings in params.datasets.values() for name in settings.modalities}
    for name in params.model.weights_for or ():
        if name not in modalities:
            raise UserError(
                f"params.yaml: model.weights_for names '{name}', which no dataset has"
                + nearest(name, sorted(modalities))
            )
    known = params.method_names
    for dataset in params.datasets:
        params.encoders_of(dataset)
        params.weights_of(dataset)
        params.training_of(dataset)
        for name in params.methods:
            params.method(dataset, name)
        for override in params.datasets[dataset].methods:
            if override not in known:
                raise UserError(
                    f"params.yaml: datasets.{dataset}.methods.{override} is not in `methods`" + hint(override, known)
                )
    for dataset in params.study.datasets:
        params.dataset(dataset)
    _check_study(params)
    for name in params.studies:
        _check_paper_study(params, name)
    _check_search(params)
    for name in (*params.study.tables, *params.study.figures):
        paper_study(params, name)
    return params


def _check_search(params: Params) -> None:
    """Every value that tuning may choose is a setting of its method, and none changes what it starts from."""
    tuning = params.tuning
    for method, search in tuning.search.items():
        own = params.method(params.study.datasets[0], method)
        for key, values in search.items():
            where = f"params.yaml: tuning.search.{method}.{key}"
            if not values:
                raise UserError(f"{where} is empty: list the values to try")
            for value in values:
                try:
                    changed = params.with_method(params.study.datasets[0], method, {key: value})
                    settings = changed.method(params.study.datasets[0], method).settings
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
            for dataset in study.datasets:
                params.check_pair(dataset, name)
            own = params.family(name)
            if own != family:
                raise UserError(f"params.yaml: study.{family} lists '{name}', which belongs in study.{own}")
            for dataset in study.datasets:
                for key, needed in params.starts_of(dataset, name):
                    if needed not in getattr(study, key.replace("-", "_")):
                        raise UserError(
                            f"params.yaml: study.{family} lists '{name}', which needs '{needed}' in study.{key}"
                        )
