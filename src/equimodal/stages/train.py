"""Stage train: one (dataset, method, seed), from scratch, from the shared warm-up and its fit, or from unimodal
models.
"""

import shutil

from equimodal.engines.layout import model_folder
from equimodal.params import Params
from equimodal.stages.running import Run, start_files, write_curves
from equimodal.stages.setup import Setup
from equimodal.store import atomic, write_tensors


def run(params: Params, dataset: str, method: str, seed: int) -> None:
    """Train; write {val,last,test}.safetensors (plain models, which say what they are) and curves.json. Without
    `training.test_every_epoch` the rule `test` chooses nothing, and its file holds no tensor.

    A killed run goes on where its last epoch ended.
    """
    setup = Setup.open(params, dataset, method, seed)
    inputs = start_files(params, dataset, method, seed)
    with Run(setup, "train", setup.key("train", inputs)) as run:
        loop = run.begun(inputs)
        run.train(loop)
        folder = model_folder(dataset, method, seed)

        def write() -> None:
            loop.export(folder / "last.safetensors", "last", loop.progress.epoch - 1)
            for rule in loop.measured:
                with atomic(folder / f"{rule}.safetensors") as scratch:
                    shutil.copyfile(loop.checkpoint.chosen(rule, loop.progress.selected[rule]), scratch)
            if "test" not in loop.measured:
                # The engines know no optional outputs.
                write_tensors(folder / "test.safetensors", {}, {"rule": "test", "epoch": None, "structure": {}})
            write_curves(folder / "curves.json", run, loop)

        run.finish(loop, write)
