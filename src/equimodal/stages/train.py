"""Stage train: one (dataset, method, seed), from scratch, from the shared warm-up and its fit, or from unimodal
models.
"""

import shutil
from pathlib import Path

from equimodal.engines.layout import fit_path, model_folder, unimodal_path, warmup_path
from equimodal.params import Params
from equimodal.stages.running import Run, write_curves
from equimodal.stages.setup import Setup
from equimodal.store import read_tensors, write_tensors


def run(params: Params, dataset: str, method: str, seed: int) -> None:
    """Train; write {val,last,test}.safetensors (plain models) and curves.json. Without `training.test_every_epoch` the
    rule `test` chooses nothing, and its file holds no tensor.

    A killed run goes on where its last epoch ended.
    """
    setup = Setup.open(params, dataset, method, seed)
    family = setup.resolved.entry.family
    inputs = start_files(params, dataset, method, seed)
    with Run(setup, "train", setup.key("train", inputs)) as run:
        trained = setup.method()
        if family == "from-warmup":
            trained.load_fit(read_tensors(inputs[1])[0])
        elif family == "from-unimodal":
            modalities = params.unimodal_of(dataset)
            trained.load_unimodal({name: read_tensors(path)[0] for name, path in zip(modalities, inputs, strict=True)})
        loop = run.loop(trained)
        if not loop.resume() and family == "from-warmup":
            loop.start_from(inputs[0])
        run.train(loop)
        folder = model_folder(dataset, method, seed)

        def write() -> None:
            loop.export(folder / "last.safetensors", "last", loop.progress.epoch - 1)
            for rule in loop.measured:
                shutil.copyfile(run.folder / f"{rule}.safetensors", folder / f"{rule}.safetensors")
            if "test" not in loop.measured:
                # The engines know no optional outputs.
                write_tensors(folder / "test.safetensors", {}, {"rule": "test", "epoch": None, "structure": {}})
            write_curves(folder / "curves.json", run, loop)

        run.finish(loop, write)


def start_files(params: Params, dataset: str, method: str, seed: int) -> list[Path]:
    """What a method begins with, beside the data: the warm-up's state and the fit on it, or the models of one modality
    each in the order of the dataset's modalities; nothing from scratch.
    """
    family = params.family(method)
    if family == "from-warmup":
        return [
            warmup_path(dataset, params.warmup_of(dataset, method), seed),
            fit_path(dataset, params.fit_of(dataset, method), seed),
        ]
    if family == "from-unimodal":
        return [unimodal_path(dataset, name, seed) for name in params.unimodal_of(dataset).values()]
    return []
