"""Stage warmup: joint training for the start epochs, shared by every method that begins there."""

from equimodal.engines.layout import warmup_path
from equimodal.methods.joint.method import Joint
from equimodal.params import Params
from equimodal.stages.running import Run
from equimodal.stages.setup import Setup


def run(params: Params, dataset: str, method: str, seed: int) -> None:
    """Train the first E epochs of the `joint` run with this seed;
    write its whole state (optimizer included) at their end.

    Args:
        method: the method that owns the warm-up; E is its start_epoch.
    """
    setup = Setup.open(params, dataset, method, seed, kind=Joint)
    with Run(setup, "warmup", setup.key("warmup")) as run:
        loop = run.loop(setup.method())
        loop.resume()
        run.train(loop, until=setup.resolved.warm.start_epoch)
        # Without the checksums of chosen weights, which nobody is handed and which say more than what comes first
        facts = {"key": run.key, "run": run.meta, "weights": {}}
        run.finish(loop, lambda: loop.save(warmup_path(dataset, method, seed), **facts))
