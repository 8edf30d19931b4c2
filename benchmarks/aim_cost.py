"""What AIM costs beside joint training: time per step and peak memory, same model, same batch, same run.

    python benchmarks/aim_cost.py                       # ResNet18 at full width, batch 16, CPU
    python benchmarks/aim_cost.py --batch 64 --device cuda
    python benchmarks/aim_cost.py --width 8 --layers 1 1 1 1 --audio 1 40 51 --visual 1 5 32 40 --classes 51 --batch 64

Prints, for joint training and AIM's variants, the median seconds per step, the operations per step and the peak memory,
each with its ratio to joint; then where AIM's time goes.
On the CPU seconds are processor seconds, which a machine's other work hardly touches (use --threads 1 on a busy one);
on a GPU they are wall time.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

CYCLE = 4  # pdm.every
VARIANTS = {
    "joint": None,
    "aim": {},
    "aim, aux_fraction 0.5": {"aux_fraction": 0.5},
    "aim without PAM": {"pam": False},
}


def parse() -> argparse.Namespace:
    """Settings of the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, nargs=4, default=[2, 2, 2, 2])
    parser.add_argument("--audio", type=int, nargs=3, default=[1, 257, 188], help="channels, bins, steps")
    parser.add_argument("--visual", type=int, nargs=4, default=[3, 3, 224, 224], help="channels, frames, height, width")
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--small-stem", action="store_true", help="stem of stride 1 without pooling, as for small pictures"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3, help="each is one cycle of the PDM's pace a variant")
    parser.add_argument("--only", help="measure the peak memory of one variant (used by the program itself)")
    return parser.parse_args()


def build(name: str, args: argparse.Namespace):
    """A variant with its step function, ready to be timed."""
    import torch

    from equimodal.evaluation.operations import StepLoop
    from equimodal.methods.aim.method import AIMMethod
    from equimodal.methods.aim.settings import AIMSettings
    from equimodal.methods.base import Batch, Task
    from equimodal.methods.joint.method import Joint
    from equimodal.methods.joint.settings import JointSettings
    from equimodal.models.framework import build_model
    from equimodal.objectives import Classification
    from equimodal.settings.training import ModelSettings, TrainingSettings

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    shapes = {"audio": tuple(args.audio), "visual": tuple(args.visual)}
    stem = {"stem_stride": 1, "stem_pool": False} if args.small_stem else {}
    settings = ModelSettings(width=args.width, layers=tuple(args.layers), **stem)
    model = build_model(shapes, args.classes, settings).to(device)
    means = {m: torch.randn(args.classes, *shape, device=device) for m, shape in shapes.items()}
    task = Task(Classification(args.classes), 1, 1, 0, means)
    changes = VARIANTS[name]
    method = Joint(model, JointSettings(), task) if changes is None else AIMMethod(model, AIMSettings(**changes), task)
    method.to(device).train()
    optimizer = torch.optim.SGD(method.main_parameters(), lr=1e-3, momentum=0.9)

    class Loop(StepLoop):
        def optimize(self, loss):
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    loop = Loop(method, TrainingSettings(batch_size=args.batch), device)
    batch = Batch(
        {m: torch.randn(args.batch, *shape, device=device) for m, shape in shapes.items()},
        torch.arange(args.batch, device=device) % args.classes,
    )
    return method, lambda: method.training_step(batch, loop)


def synchronise(device: str) -> None:
    """Wait for the GPU."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def now(args: argparse.Namespace) -> float:
    """Seconds: of the processor on the CPU (a thread's share), of the wall on a GPU."""
    if args.device == "cpu":
        return time.process_time() / args.threads
    synchronise(args.device)
    return time.perf_counter()


def cycle_seconds(step, args: argparse.Namespace) -> float:
    """Mean seconds per step over one cycle of the PDM's pace."""
    start = now(args)
    for _ in range(CYCLE):
        step()
    return (now(args) - start) / CYCLE


def operations(step) -> float:
    """Floating-point operations per step of convolutions and matrix products, mean over one cycle: what a machine's
    state cannot change.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        for _ in range(CYCLE):
            step()
    return counter.get_total_flops() / CYCLE


def peak(name: str, args: argparse.Namespace) -> float:
    """GiB at the peak of a few steps, in this process."""
    import torch

    _, step = build(name, args)
    for _ in range(2):
        step()
    if args.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def profile(args: argparse.Namespace) -> dict[str, float]:
    """Seconds per step that AIM spends in its own parts, forward passes only for auxiliaries,
    and whole for the PDM's own training.
    """
    from equimodal.methods.aim import stepping
    from equimodal.methods.aim.decoupling import BlockDecoupling
    from equimodal.methods.aim.modulator import Modulator

    method, step = build("aim", args)
    step()
    spent: dict[str, float] = {}

    def timed(owner, attribute: str, label: str) -> None:
        original = getattr(owner, attribute)

        def wrapper(*inputs, **keywords):
            start = now(args)
            result = original(*inputs, **keywords)
            spent[label] = spent.get(label, 0.0) + now(args) - start
            return result

        setattr(owner, attribute, wrapper)

    timed(BlockDecoupling, "weak", "theta -> theta_b, forward")
    timed(Modulator, "weak_score", "auxiliary blocks, forward (theta_b included)")
    timed(type(method.model), "forward", "originals and riding prototypes, forward")
    timed(stepping, "train_decoupling", "the PDM's own training (Eq. 8), every 4th step")
    spent.clear()
    start = now(args)
    for _ in range(CYCLE):
        step()
    spent["a whole step"] = now(args) - start
    return {label: seconds / CYCLE for label, seconds in spent.items()}


def main() -> None:
    """Measure and print."""
    args = parse()
    if args.only:
        print(peak(args.only, args))
        return
    memory = {}
    for name in VARIANTS:  # a process each: the peak of a process only grows
        out = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--only", name], check=True, capture_output=True, text=True
        ).stdout
        memory[name] = float(out.split()[-1])
    steps = {name: build(name, args)[1] for name in VARIANTS}
    counted = {name: operations(step) for name, step in steps.items()}  # also warms up
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(args.rounds):
        for name, step in steps.items():
            seconds[name].append(cycle_seconds(step, args))
    ratios = {name: [a / b for a, b in zip(found, seconds["joint"], strict=True)] for name, found in seconds.items()}
    print(
        f"width {args.width}, batch {args.batch}, {args.classes} classes, audio {args.audio}, visual"
        f" {args.visual}, {args.device}, {args.threads} threads"
    )
    print(f"K/B = {args.classes / args.batch:.2f} of every AIM ratio is the riding prototypes\n")
    print(
        f"{'':24}{'s/step':>9}{'ratio':>8}{'less K/B':>10}{'GFLOP':>8}{'ratio':>8}{'less K/B':>10}{'GiB':>7}"
        f"{'ratio':>8}"
    )
    for name, found in seconds.items():
        ratio = statistics.median(ratios[name])
        riding = 0.0 if name == "joint" else args.classes / args.batch
        work = counted[name] / counted["joint"]
        print(
            f"{name:24}{statistics.median(found):9.3f}{ratio:8.2f}{ratio - riding:10.2f}"
            f"{counted[name] / 1e9:8.0f}{work:8.2f}{work - riding:10.2f}"
            f"{memory[name]:7.2f}{memory[name] / memory['joint']:8.2f}"
        )
    print("\nwhere a step of `aim` goes (seconds)")
    for label, value in profile(args).items():
        print(f"  {label:50}{value:9.3f}")


if __name__ == "__main__":
    main()
