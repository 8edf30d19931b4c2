"""Stage train: one (dataset, method, seed), from scratch or from the shared warm-up and prototypes."""

import shutil
from pathlib import Path

from equimodal.engines.layout import fit_path, model_folder, warmup_path
from equimodal.params import Params
from equimodal.stages.running import Run, write_curves
from equimodal.stages.setup import Setup
from equimodal.store import read_tensors


def run(params: Params, dataset: str, method: str, seed: int) -> None:
    """Train; write {val,last,test}.safetensors (plain models) and curves.json.

    A killed run goes on where its last epoch ended.
    """
    setup = Setup.open(params, dataset, method, seed)
    inputs = start_files(params, dataset, method, seed) if setup.resolved.entry.family == "from-warmup" else []
    with Run(setup, "train", setup.key("train", inputs)) as run:
        trained = setup.method()
        if inputs:
            trained.load_fit(read_tensors(inputs[1])[0])  # type: ignore[operator]
        loop = run.loop(trained)
        if not loop.resume() and inputs:
            loop.start_from(inputs[0])
        run.train(loop)
        folder = model_folder(dataset, method, seed)

        def write() -> None:
            loop.export(folder / "last.safetensors", "last", loop.progress.epoch - 1)
            for rule in ("val", "test"):
                shutil.copyfile(run.folder / f"{rule}.safetensors", folder / f"{rule}.safetensors")
            write_curves(folder / "curves.json", run, loop)

        run.finish(loop, write)


def start_files(params: Params, dataset: str, method: str, seed: int) -> list[Path]:
    """The warm-up's state and the fitted prototypes that a from-warmup method begins with."""
    return [
        warmup_path(dataset, params.warmup_of(dataset, method), seed),
        fit_path(dataset, params.fit_of(dataset, method), seed),
    ]
