"""What each stage is made of: settings that set it, code that runs in it, files it reads.

The engines' files and `plan` all ask here.

A stage's files are named in workflow/rules and dvc.yaml, where people look for them; this module holds what a file name
cannot say: which part of params.yaml changes a result, and what differs from dataset to dataset or method to method.
"""

from pathlib import Path
from typing import Any

from equimodal.datasets.registry import KINDS
from equimodal.engines import layout
from equimodal.engines.closure import code_files, contents
from equimodal.errors import UserError
from equimodal.models.registry import ENCODERS
from equimodal.params import Params
from equimodal.params.studies import paper_study
from equimodal.settings.base import hint
from equimodal.settings.features import ArraySettings
from equimodal.store import canonical_json, digest

# What of `runtime` changes float results; devices, because each takes batch statistics over its own part of a batch.
RUNTIME = ("devices", "precision", "threads", "channels_last")
# Keys of a dataset that later stages are set by, not the raw files.
NOT_RAW = (
    "protocol",
    "labels",
    "task",
    "regression",
    "split",
    "missing",
    "missing_classes",
    "max_rejected",
    "modalities",
    "model",
    "training",
    "methods",
)
STAGES = (
    "raw",
    "index",
    "features",
    "manifest",
    "weights",
    "unimodal",
    "warmup",
    "prototypes",
    "train",
    "evaluate",
    "operations",
    "summary",
    "figures",
    "reference",
    "cost",
)
TABLES = ("comparison", "modalities", "cost")  # of the whole study, in results/tables


def settings(
    params: Params,
    stage: str,
    dataset: str | None = None,
    method: str | None = None,
    modality: str | None = None,
    study: str | None = None,
) -> dict[str, Any]:
    """The resolved part of params.yaml that sets one stage; nothing else in params.yaml may change its outputs."""
    if stage == "tables":
        return {"datasets": list(params.study.datasets), "methods": study_methods(params)}
    if stage == "paper":
        assert study is not None
        found = paper_study(params, study)
        return {"show": found.settings.show, "pairs": found.pairs, "refused": found.refused, "seeds": found.seeds}
    assert dataset is not None
    data = params.dataset(dataset).slice()
    raw = {key: value for key, value in data.items() if key not in NOT_RAW}
    raw |= _array_files(params, dataset)
    if stage == "raw":
        return {**raw, "columns": data.get("columns")}
    if stage == "index":
        kinds = {name: feature["kind"] for name, feature in data["modalities"].items()}
        named = {} if data["protocol"] == "custom" else {"protocol": data["protocol"]}
        named |= {key: data[key] for key in ("labels", "missing_classes") if key in data}
        numbers = params.dataset(dataset).numbers
        grid = (
            {} if numbers is None else {"regression": {key: numbers.slice()[key] for key in ("low", "high", "points")}}
        )
        return {
            **raw,
            "columns": data.get("columns"),
            "split": data["split"],
            "missing": data["missing"],
            "modalities": kinds,
            **named,
            **grid,
        }
    if stage == "features":
        return {"modalities": {modality: data["modalities"][modality]} if modality else data["modalities"]}
    if stage == "manifest":
        regression = {} if params.dataset(dataset).numbers is None else {"regression": data["regression"]}
        return {
            "missing": data["missing"],
            "max_rejected": data["max_rejected"],
            "modalities": list(data["modalities"]),
            **regression,
        }
    if stage == "weights":
        start, model = params.weights_of(dataset), params.model_of(dataset)
        return {} if start is None else {"source": start.source, "width": model.width, "layers": list(model.layers)}
    if stage == "overview":
        return {"methods": study_methods(params)}
    return _of_models(params, stage, dataset, method)


def _array_files(params: Params, dataset: str) -> dict[str, Any]:
    """Where the modalities that are arrays lie, which the raw manifest and the index depend on; {} without such."""
    arrays = {
        name: feature
        for name, feature in params.dataset(dataset).modalities.items()
        if isinstance(feature, ArraySettings)
    }
    named = {
        name: feature.model_dump(mode="json", include={"column", "file", "key", "lengths"}, exclude_none=True)
        for name, feature in arrays.items()
    }
    return {"arrays": named} if any(named.values()) else {}


def _of_models(params: Params, stage: str, dataset: str, method: str | None) -> dict[str, Any]:
    runtime = {key: params.runtime.slice()[key] for key in RUNTIME}
    training = params.training_of(dataset).slice()
    shared = {"model": params.model_slice(dataset), "training": training, "runtime": runtime}
    if stage == "reference":
        return shared
    assert method is not None
    resolved = params.method(dataset, method)
    if stage == "warmup":
        return {**shared, "start_epoch": resolved.warm.start_epoch}
    if stage == "prototypes":
        return {**shared, "fit": resolved.warm.fit}
    if stage == "unimodal":
        return {}
    own = {"kind": resolved.kind, "settings": resolved.settings.slice()}
    if stage in ("train", "evaluate", "operations", "cost"):
        return {**shared, "method": own}
    if stage == "tune":
        tuning = {"trials": params.tuning.trials, "seed": params.tuning.seed, "search": params.search_of(method)}
        return {**shared, "method": own, "tuning": tuning}
    if stage == "summary":
        return {**shared, "method": own, "seeds": list(params.study.seeds)}
    if stage == "figures":
        return {"seeds": list(params.study.seeds)}
    raise ValueError(stage)


def settings_json(*args: Any, **kwargs: Any) -> str:
    """`settings` as canonical JSON: Snakemake reruns a job when the order of a dict's keys changes,
    and a string has no order.
    """
    return canonical_json(settings(*args, **kwargs))


def code(params: Params, stage: str, dataset: str | None = None, method: str | None = None) -> list[str]:
    """Code files of a stage, named as `code_files` names them.

    Raw and index add those of the dataset's kind, those that build models the dataset's encoders, training, evaluation,
    operations and cost the one method they run, reference and cost joint training.
    """
    modules = [f"equimodal.stages.{stage}"]
    if stage in ("raw", "index") and dataset is not None:
        modules.append(KINDS[params.dataset(dataset).kind].module)
    if (
        stage in ("warmup", "prototypes", "train", "tune", "evaluate", "operations", "reference", "cost")
        and dataset is not None
    ):
        modules += encoder_modules(params, dataset)
    if stage in ("train", "tune", "evaluate", "operations", "cost") and dataset is not None and method is not None:
        modules.append(params.method(dataset, method).entry.module)
    if stage in ("reference", "cost"):
        modules.append("equimodal.methods.joint.method")  # which every method is measured against
    data = ["equimodal/report/published.yaml"] if stage in ("tables", "paper") else []
    return [*code_files(*modules), *data]


def code_text(params: Params, stage: str, dataset: str | None = None, method: str | None = None) -> str:
    """One line that stands for what the stage's code files contain: Snakemake compares it, and prints it as the reason
    why a job runs again.
    """
    return f"code {digest(contents(code(params, stage, dataset, method)))}"


def encoder_modules(params: Params, dataset: str) -> list[str]:
    """The modules of a dataset's encoders."""
    return sorted({ENCODERS[name].module for name in params.encoders_of(dataset).values()})


def weights_file(params: Params, dataset: str) -> list[str]:
    """The file that `model.weights` names, as the stage's input; none for a download, or while it does not exist (the
    stage says so in one line).
    """
    start = params.weights_of(dataset)
    return [start.file] if start is not None and start.file is not None and Path(start.file).is_file() else []


def paper_inputs(params: Params, name: str) -> dict[str, list[str]]:
    """Files that a study of `studies` is drawn from, by what they are."""
    study = paper_study(params, name)
    runs = [(dataset, method, seed) for dataset, method in study.pairs for seed in study.seeds]
    folders = [layout.model_folder(*run) for run in runs]
    found = {
        "evaluations": [folder / "evaluation.json" for folder in folders],
        "curves": [folder / "curves.json" for folder in folders],
        "operations": [layout.operations_path(*pair) for pair in study.pairs],
    }
    if study.settings.show == "prototypes":
        fits = [layout.fit_path(d, params.fit_of(d, m), seed).with_suffix(".json") for d, m, seed in runs]
        found["fits"] = list(dict.fromkeys(fits))
    return {kind: [str(path) for path in paths] for kind, paths in found.items()}


def families(params: Params) -> dict[str, list[str]]:
    """Every method that can be asked for, by what it starts from."""
    found: dict[str, list[str]] = {"from-scratch": [], "from-warmup": [], "from-unimodal": []}
    for name in params.method_names:
        found[params.family(name)].append(name)
    return found


def study_methods(params: Params, stage: str = "summary") -> list[str | None]:
    """Methods for which plain `snakemake` and `dvc repro` run a stage;
    [None] for a stage that runs once per dataset.
    """
    if stage in ("raw", "index", "features", "manifest", "weights", "reference", "overview", "tables"):
        return [None]
    study = params.study
    owners = {"warmup": study.warmups, "prototypes": study.fits, "unimodal": study.unimodal}
    return list(owners.get(stage, study.methods))


def check_targets(params: Params, words: list[str]) -> None:
    """Refuse a file of an unknown dataset or method among the words of a command line, before any job is planned.

    Raises:
        UserError: one line with the valid names.
    """
    for word in words:
        folder, _, name = word.removeprefix("./").rpartition("/")
        parts = folder.split("/")
        if folder == "results/tables":
            if name.partition(".")[0] not in TABLES:
                _known("dataset", name.partition(".")[0], list(params.datasets), word)
        elif folder == "results/paper":
            stem, _, ending = name.partition(".")
            _known("study", stem, list(params.studies), word)
            endings = params.studies[stem].endings
            if ending not in endings:
                files = ", ".join(f"{stem}.{each}" for each in endings)
                raise UserError(f"{word}: the files of study '{stem}' are {files} (results/paper)")
        elif folder == "results/cost/reference":
            _known("dataset", name.removesuffix(".json"), list(params.datasets), word)
        elif folder == "results/figures" or (
            folder in ("results", "results/cost", "results/tuning") and name.endswith(".json")
        ):
            dataset, separator, method = name.removesuffix(".json").partition("_")
            if not separator:
                raise UserError(
                    f"{word} is no result: a result is called results/DATASET_METHOD.json, such as"
                    " results/cremad_aim.json"
                )
            _known("dataset", dataset, list(params.datasets), word)
            _known("method", method, params.method_names, word)
            params.check_pair(dataset, method)
        elif parts[0] == "models" and (len(parts) == 4 or name == "operations.json"):
            _known("dataset", parts[1], list(params.datasets), word)
            if parts[2] not in ("warmup", "prototypes", "unimodal"):
                _known("method", parts[2], params.method_names, word)
        elif parts[0] == "data" and (
            parts[2:] in (["raw"], ["features"])
            or (len(parts) == 2 and name in ("index.json", "manifest.json", "weights.safetensors"))
        ):
            _known("dataset", parts[1], list(params.datasets), word)


def _known(what: str, name: str, valid: list[str], word: str) -> None:
    if name not in valid:
        has = ", ".join(sorted(valid))
        raise UserError(f"unknown {what} '{name}' in {word}; params.yaml has: {has}" + hint(name, valid))
