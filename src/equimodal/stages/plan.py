"""What sets each stage of the study, as small files that DVC stages depend on: the digests of their code files and
their resolved settings.

DVC can depend on a section of params.yaml or on a named file, but not on "the settings of a variant, resolved through
its base" or "the files this stage imports". Here both are written out per stage,
so that an edit reruns exactly what it changes.
"""

from pathlib import Path
from typing import Any

from equimodal.engines import declarations
from equimodal.engines.closure import contents
from equimodal.params import Params
from equimodal.store import atomic, write_json

FOLDER = Path("data/plan")


def run(params: Params) -> None:
    """Write data/plan/STAGE-DATASET[-METHOD].json for every stage of the study,
    tables.json for what is made of all of it, and paper-STUDY.json for what it draws of `studies`.
    """
    with atomic(FOLDER) as scratch:
        scratch.mkdir()
        for dataset in params.study.datasets:
            for stage in declarations.STAGES:
                for method in declarations.study_methods(params, stage):
                    write_json(scratch / file_name(stage, dataset, method), content(params, stage, dataset, method))
        write_json(scratch / file_name("tables"), content(params, "tables"))
        for study in (*params.study.tables, *params.study.figures):
            write_json(scratch / f"paper-{study}.json", content(params, "paper", study=study))


def file_name(stage: str, dataset: str | None = None, method: str | None = None) -> str:
    """Name of the file below data/plan."""
    return "-".join([stage, *(part for part in (dataset, method) if part)]) + ".json"


def content(
    params: Params, stage: str, dataset: str | None = None, method: str | None = None, study: str | None = None
) -> dict[str, Any]:
    """{"code": {file: sha256}, "settings": resolved slice} of one stage."""
    return {
        "code": contents(declarations.code(params, stage, dataset, method)),
        "settings": declarations.settings(params, stage, dataset, method, study=study),
    }
