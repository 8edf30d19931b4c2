"""Functions that rules ask for code, settings and what differs between datasets; equimodal.engines.declarations knows."""

import sys
from types import SimpleNamespace

from equimodal.engines import declarations, study
from equimodal.engines.declarations import study_methods
from equimodal.engines.workflow import gpus

FAMILIES = declarations.families(PARAMS)


def code(stage):
    """What stands for the code of a stage, and of the method of the job."""

    def text(wildcards):
        return declarations.code_text(PARAMS, stage, wildcards.get("dataset"), wildcards.get("method"))

    return text


def settings(stage):
    """Canonical JSON of the settings that change the stage's outputs."""

    def text(wildcards):
        axes = (wildcards.get("dataset"), wildcards.get("method"), wildcards.get("modality"))
        return declarations.settings_json(PARAMS, stage, *axes)

    return text


def features(ending):
    """Every modality's file of the job's dataset."""

    def files(wildcards):
        return expand(
            "data/{dataset}/features/{modality}.{ending}",
            dataset=wildcards.dataset,
            modality=PARAMS.dataset(wildcards.dataset).modalities,
            ending=ending,
        )

    return files


def weights_file(wildcards):
    """The user's file of weights for the job's dataset, where there is one."""
    return declarations.weights_file(PARAMS, wildcards.dataset)


def start(wildcards):
    """The warm-up that the job's method starts from: its own, or that of the method it is based on."""
    owner = PARAMS.warmup_of(wildcards.dataset, wildcards.method)
    return f"models/{wildcards.dataset}/warmup/{wildcards.seed}/{owner}.safetensors"


def fit(wildcards):
    """The prototypes that the job's method starts from: its own, or those of the method it is based on."""
    owner = PARAMS.fit_of(wildcards.dataset, wildcards.method)
    return f"models/{wildcards.dataset}/prototypes/{wildcards.seed}/{owner}.safetensors"


def unimodal(wildcards):
    """The models of one modality each that the job's method starts from."""
    return expand(
        "models/{dataset}/unimodal/{seed}/{method}.safetensors",
        dataset=wildcards.dataset,
        seed=wildcards.seed,
        method=PARAMS.unimodal_of(wildcards.dataset).values(),
    )


def curves(wildcards):
    """What stage train writes last."""
    return f"models/{wildcards.dataset}/{wildcards.method}/{wildcards.seed}/curves.json"


def every_seed(pattern):
    """The file `pattern` of every seed of the study."""

    def files(wildcards):
        return expand(pattern, dataset=wildcards.dataset, method=wildcards.method, seed=PARAMS.study.seeds)

    return files


def first_seed(file):
    """A file of the study's first seed, for what is measured once for all seeds."""

    def of(wildcards):
        return file(SimpleNamespace(dataset=wildcards.dataset, method=wildcards.method, seed=PARAMS.study.seeds[0]))

    return of


def tuning_seed(file):
    """A file of the seed that methods are tuned with."""

    def of(wildcards):
        return file(SimpleNamespace(dataset=wildcards.dataset, method=wildcards.method, seed=PARAMS.tuning.seed))

    return of


def prototype_logs(wildcards):
    """Logs of the prototypes stage, for methods that have one."""
    if wildcards.method not in FAMILIES["from-warmup"]:
        return []
    owner = PARAMS.fit_of(wildcards.dataset, wildcards.method)
    return expand(
        "models/{dataset}/prototypes/{seed}/{owner}.json",
        dataset=wildcards.dataset,
        seed=PARAMS.study.seeds,
        owner=owner,
    )


def paper(kind):
    """Files of one kind that the job's table or figure is drawn from."""

    def files(wildcards):
        return declarations.paper_inputs(PARAMS, wildcards.study).get(kind, [])

    return files


def paper_settings(wildcards):
    """Canonical JSON of what the job's table or figure shows."""
    return declarations.settings_json(PARAMS, "paper", study=wildcards.study)


def study_targets(wildcards):
    """Members of the study; under `--report` those that are there, since Snakemake refuses a report with any other."""
    return study.targets(PARAMS, sys.argv[1:])


wildcard_constraints:
    dataset="|".join(PARAMS.datasets),
    method="|".join(PARAMS.method_names),
    modality="[a-z0-9-]+",
    seed="[0-9]+",
    study="|".join(PARAMS.studies),
