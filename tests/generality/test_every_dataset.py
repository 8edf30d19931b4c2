"""Every dataset x every method that it takes, from its own sample to the result: shapes, purity of every
stage, the same bytes when run again.

Purity is tested by need: each stage runs in a folder that holds only the inputs which dvc.yaml declares (test_agreement
compares them with the Snakefile's), and must write exactly the outputs declared there.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

from equimodal.cli import app
from equimodal.report.result import Result
from equimodal.store import file_sha256, read_json
from sample_study import EPOCHS, FEW, datasets, small_params

ROOT = Path(__file__).resolve().parents[2]
NAMES = datasets(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))
OURS = (".equimodal", ".checkpoints", "logs")  # locks and what a killed run would need: never results


@dataclass(frozen=True)
class Job:
    """A stage of dvc.yaml with its axes filled in; `reads` and `writes` are files or folders."""

    name: str
    words: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]


@dataclass(frozen=True)
class Built:
    """A dataset's whole study: the folder it was built in, its jobs in order,
    and the sha256 of every file they made.
    """

    root: Path
    jobs: list[Job]
    made: dict[str, str]


def jobs_of(folder: Path) -> list[Job]:
    """The jobs of the study in `folder` in an order in which they can run."""
    from dvc.repo import Repo

    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    shutil.copy(ROOT / "dvc.yaml", folder)
    with Repo(str(folder)) as repo:
        waiting = [
            Job(
                stage.name,
                tuple(stage.cmd.split()),
                tuple(
                    dep.def_path
                    for dep in stage.deps
                    if dep.def_path != "src/equimodal" and not dep.def_path.startswith("params.yaml")
                ),
                tuple(out.def_path for out in stage.outs),
            )
            for stage in repo.index.stages
        ]
    waiting.sort(key=lambda job: job.name != "plan")
    ordered: list[Job] = []
    while waiting:
        missing = {out for job in waiting for out in job.writes}
        ready = next(
            job
            for job in waiting
            if not any(inside(dep, out) or inside(out, dep) for dep in job.reads for out in missing)
        )
        waiting.remove(ready)
        ordered.append(ready)
    # Costs are times of this machine: no pure function (tests/stages/test_cost.py has them).
    return [job for job in ordered if not job.name.startswith(("cost", "reference"))]


def inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def files_of(folder: Path) -> list[str]:
    """Files below a folder, relative, without what is never a result."""
    found = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    return [name for name in found if name.partition("/")[0] not in OURS]


def run_pure(job: Job, built: Path, bench: Path) -> dict[str, str]:
    """Run a job where only its declared inputs are, check that it wrote its declared outputs and nothing else; {file:
    sha256} of them.
    """
    bench.mkdir()
    # A digest stands for its result: DVC's tables depend on the folder of them,
    # since `results` holds the tables themselves.
    reads = [
        *job.reads,
        *(
            line.split()[1]
            for path in (built / "results/digests").glob("*")
            if "results/digests" in job.reads
            for line in [path.read_text()]
        ),
    ]
    given = ["params.yaml", *(name for name in files_of(built) if any(inside(name, dep) for dep in reads))]
    for name in given:
        (bench / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(built / name, bench / name)
    before = {name: file_sha256(bench / name) for name in given}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(bench)
        app(list(job.words[1:]), standalone_mode=False)
    assert {name: file_sha256(bench / name) for name in given} == before, f"{job.name} changed its inputs"
    written = [name for name in files_of(bench) if name not in before]
    assert all(any(inside(name, out) for out in job.writes) for name in written), (
        f"{job.name} wrote {written}, declared are {job.writes}"
    )
    assert all(any(inside(name, out) for name in written) for out in job.writes), (
        f"{job.name} wrote {written}, declared are {job.writes}"
    )
    return {name: file_sha256(bench / name) for name in written}


# A whole study takes one to two minutes: cremad with a few methods stands for all in the fast suite.
STUDIES = [
    pytest.param(("cremad", FEW), id="cremad-few"),
    *(pytest.param((name, None), id=name, marks=pytest.mark.slow) for name in NAMES),
]


@pytest.fixture(scope="module", params=STUDIES)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The dataset's study, every stage run on its own."""
    dataset, methods = request.param
    folder = tmp_path_factory.mktemp(dataset)
    root = folder / "built"
    root.mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(small_params(ROOT, [dataset], methods), sort_keys=False))
    graph = folder / "graph"
    graph.mkdir()
    shutil.copy(root / "params.yaml", graph)
    jobs = jobs_of(graph)
    made: dict[str, str] = {}
    for number, job in enumerate(jobs):
        if job.name == "plan":
            continue  # its input is the source code; the others have it installed
        bench = folder / str(number)
        outputs = run_pure(job, root, bench)
        assert not outputs.keys() & made.keys(), f"{job.name} writes what another job wrote"
        made |= outputs
        for name in outputs:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(bench / name, root / name)
        shutil.rmtree(bench)
    yield Built(root, jobs, made)
    shutil.rmtree(folder)


def test_arrays_and_manifest_agree(built: Built) -> None:
    dataset = built.root / "data" / study(built)["datasets"][0]
    manifest = read_json(dataset / "manifest.json")
    assert len(manifest["modalities"]) >= 2
    assert len(manifest["rows"]) == len(manifest["labels"]) == len(manifest["splits"]) == len(set(manifest["ids"]))
    assert set(manifest["splits"]) == {"train", "val", "test"}
    for name, entry in manifest["modalities"].items():
        array = np.load(dataset / "features" / f"{name}.npy", mmap_mode="r")
        assert list(array.shape[1:]) == entry["shape"] and str(array.dtype) == entry["dtype"]
        assert max(manifest["rows"]) < len(array)
        assert np.isfinite(np.asarray(array[manifest["rows"]], dtype=np.float64)).all()
        assert np.asarray(array[manifest["rows"]]).std() > 0


def test_results_are_whole(built: Built) -> None:
    families = ("from-scratch", "from-warmup", "from-unimodal")
    alone = study(built)["unimodal"]
    methods = [name for family in families for name in study(built)[family] if name not in alone]
    assert {"joint", "aim"} <= set(methods)
    assert "| Joint" in (built.root / "results/paper/small.md").read_text()
    for method in methods:
        check_result(built, method)


def check_result(built: Built, method: str) -> None:
    dataset = study(built)["datasets"][0]
    path = built.root / "results" / f"{dataset}_{method}.json"
    jsonschema.validate(read_json(path), json.loads((ROOT / "workflow/schemas/result.schema.json").read_text()))
    found = Result.read(path)
    modalities = set(found.data.modalities)
    assert found.source == "sample" and found.note, "a sample's numbers must say so"
    assert set(found.selection.val.modalities["probe"]) == modalities == set(found.imbalance.s)
    assert all(
        0 <= value <= 1
        for rule in ("val", "last", "test")
        for value in getattr(found.selection, rule).accuracy.per_seed
    )
    assert (
        found.imbalance.alpha is not None
        and len(found.imbalance.alpha) == len(next(iter(found.imbalance.s.values()))) >= 2
    )
    curves = read_json(built.root / "models" / dataset / method / "0" / "curves.json")
    assert [row["epoch"] for row in curves["epochs"]] == list(range(1 if method == "ensemble" else EPOCHS))
    assert all(
        value is not None for row in curves["epochs"] for name, value in row["metrics"].items() if name.endswith("loss")
    )
    if method == "aim":
        last = curves["epochs"][-1]["metrics"]
        depths = len(found.imbalance.alpha)
        assert {f"depth{d}/alpha" for d in range(1, depths + 1)} <= set(last) and f"depth{depths + 1}/alpha" not in last
        assert {f"depth{d}/{m}/s_aux" for d in range(1, depths + 1) for m in modalities} <= set(last)


@pytest.mark.slow
def test_the_same_bytes_when_run_again(built: Built, tmp_path: Path) -> None:
    for number, job in enumerate(built.jobs):
        if job.name != "plan":
            again = run_pure(job, built.root, tmp_path / str(number))
            changed = [name for name, digest in again.items() if built.made[name] != digest]
            assert not changed, f"{job.name}: {changed} differ"
            shutil.rmtree(tmp_path / str(number))


def study(built: Built) -> dict[str, list[str]]:
    """Section `study` of the params.yaml that was built."""
    return yaml.safe_load((built.root / "params.yaml").read_text())["study"]
