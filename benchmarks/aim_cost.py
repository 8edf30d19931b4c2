"""What AIM costs beside joint training: time per step, operations and peak memory, same model, same batch, same run.

    python benchmarks/aim_cost.py                       # ResNet18 at full width, batch 16, CPU
    python benchmarks/aim_cost.py --batch 64 --device cuda
    python benchmarks/aim_cost.py --width 8 --layers 1 1 1 1 --audio 1 40 51 --visual 1 5 32 40 --classes 51 --batch 64

Prints, for joint training and AIM's variants, means over each method's cycle: the median seconds per step over rounds
taken in turns, the operations (convolutions and matrix products) and the aten operations that compute (no views) per
step, the peak memory, with ratios to joint. `first` is the operations of an epoch's first step, which starts AIM's
decoupling.
On the CPU seconds are processor seconds, which a machine's other work hardly touches (use --threads 1 on a busy one);
on a GPU they are wall time.
"""

import argparse
import copy
import os
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

VARIANTS = {
    "joint": None,
    "aim": {},
    "aim-fast": {"preset": "fast"},
    "aim-half": {"aux_fraction": 0.5},
    "aim-no-pam": {"pam": False},
}


def parse() -> argparse.Namespace:
    """Settings of the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, nargs=4, default=[2, 2, 2, 2])
    parser.add_argument("--audio", type=int, nargs=3, default=[1, 257, 188], help="channels, bins, steps")
    parser.add_argument("--visual", type=int, nargs=4, default=[3, 3, 224, 224], help="channels, frames, height, width")
    parser.add_argument("--vectors", type=int, metavar="N", help="three vectors of N numbers (MLPs) instead")
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--small-stem", action="store_true", help="stem of stride 1 without pooling, as for small pictures"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--rounds", type=int, default=3, help="each is one cycle of every variant; 0 counts on shapes alone"
    )
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--only", help="measure the peak memory of one variant (used by the program itself)")
    return parser.parse_args()


def shapes_of(args: argparse.Namespace) -> dict[str, tuple[int, ...]]:
    """Of the inputs {m: shape of a sample}."""
    if args.vectors:
        return dict.fromkeys("abc", (args.vectors,))
    return {"audio": tuple(args.audio), "visual": tuple(args.visual)}


class Run:
    """Steps of a variant on one batch."""

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        import torch

        from equimodal.methods.aim.library import read_settings
        from equimodal.methods.aim.method import AIMMethod
        from equimodal.methods.base import Batch, Task
        from equimodal.methods.joint.method import Joint
        from equimodal.methods.joint.settings import JointSettings
        from equimodal.models.framework import build_model
        from equimodal.objectives import Classification
        from equimodal.settings.training import ModelSettings, OptimizerSettings, TrainingSettings
        from equimodal.training.schedule import build_optimizer

        torch.manual_seed(0)
        torch.set_num_threads(args.threads)
        self.device = torch.device(args.device)
        shapes = shapes_of(args)
        stem = {"stem_stride": 1, "stem_pool": False} if args.small_stem else {}
        settings = ModelSettings(width=args.width, layers=tuple(args.layers), **stem)
        with self.device:
            model = build_model(shapes, args.classes, settings)
        means = {m: torch.randn(args.classes, *shape, device=self.device) for m, shape in shapes.items()}
        task = Task(Classification(args.classes), 1, 1, 0, means)
        changes = VARIANTS[name]
        plain = changes is None
        method = Joint(model, JointSettings(), task) if plain else AIMMethod(model, read_settings(changes), task)
        self.method = method.train()
        self.module, self.rate, self.processes = self.method, 1.0, 1
        self.training, self.seed = TrainingSettings(batch_size=args.batch), 0
        self.optimizer = build_optimizer(method.main_parameters(), OptimizerSettings(name="sgd", lr=1e-3, momentum=0.9))
        self.batch = Batch(
            {m: torch.randn(args.batch, *shape, device=self.device) for m, shape in shapes.items()},
            torch.arange(args.batch, device=self.device) % args.classes,
        )
        method.begin_epoch(0, self)

    def optimize(self, loss) -> None:
        """As the loop does."""
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def steps(self, count: int) -> None:
        """Train so long."""
        for _ in range(count):
            self.method.training_step(self.batch, self)

    def cycle(self) -> None:
        """Train for one cycle of the method's work."""
        self.steps(self.method.cycle())


def now(args: argparse.Namespace) -> float:
    """Seconds: of the processor on the CPU (a thread's share), of the wall on a GPU."""
    if args.device == "cpu":
        return time.process_time() / args.threads
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def seconds(run: Run, args: argparse.Namespace) -> float:
    """Mean seconds per step over one cycle."""
    start = now(args)
    run.cycle()
    return (now(args) - start) / run.method.cycle()


def counts(run: Run) -> tuple[float, float, float]:
    """Floating-point operations of an epoch's first step, and per later step; aten operations that compute, per
    later step.
    """
    from equimodal.evaluation.operations import Dispatched, flops_of

    first, _ = flops_of(lambda: run.steps(1))
    with Dispatched() as dispatched:
        later, _ = flops_of(run.cycle)
    return first, later / run.method.cycle(), dispatched.count / run.method.cycle()


def counts_of_shapes(run: Run) -> tuple[float, float, float]:
    """The same without computing: tensors have shapes and no values."""
    from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with FakeCopyMode(mode):
        fake = copy.deepcopy(run)
    with mode:
        return counts(fake)


def peak(name: str, args: argparse.Namespace) -> float:
    """GiB at the peak of a few steps, in this process."""
    import torch

    Run(name, args).steps(2)
    if args.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Measure and print."""
    args = parse()
    if args.only:
        print(peak(args.only, args))
        return
    memory = {}
    for name in args.variants if args.rounds else []:  # a process each: the peak of a process only grows
        out = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--only", name], check=True, capture_output=True, text=True
        ).stdout
        memory[name] = float(out.split()[-1])
    runs = {name: Run(name, args) for name in args.variants}
    counted = {name: counts(run) if args.rounds else counts_of_shapes(run) for name, run in runs.items()}
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, run in runs.items():
            found[name].append(seconds(run, args))
    base = args.variants[0]
    print(
        f"width {args.width}, batch {args.batch}, {args.classes} classes, {shapes_of(args)}"
        f", {args.device}, {args.threads} threads; ratios to {base}"
        f"; K/B = {args.classes / args.batch:.2f}"
    )
    print(f"{'':14}{'GFLOP':>8}{'ratio':>7}{'first':>8}{'aten':>7}{'s/step':>9}{'ratio':>7}{'GiB':>7}{'ratio':>7}")
    for name in runs:
        first, work, dispatched = counted[name]
        line = f"{name:14}{work / 1e9:8.0f}{work / counted[base][1]:7.2f}{first / 1e9:8.0f}"
        if found[name]:  # of shapes alone torch dispatches more
            line += f"{dispatched:7.0f}"
            ratio = statistics.median(a / b for a, b in zip(found[name], found[base], strict=True))
            line += f"{statistics.median(found[name]):9.3f}{ratio:7.2f}"
            line += f"{memory[name]:7.2f}{memory[name] / memory[base]:7.2f}"
        print(line)


if __name__ == "__main__":
    main()
