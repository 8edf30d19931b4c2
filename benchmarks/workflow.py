"""What the workflow costs beside the work: a no-op `snakemake -n`, and each stage's imports, in CPU seconds and as
ratios of Python's start.

Run in the project's root, after the study has been built for the no-op to be one: python benchmarks/workflow.py
"""

import os
import resource
import subprocess
import sys
import time

STAGES = ("raw", "index", "features", "manifest", "warmup", "prototypes", "train", "evaluate", "summary", "figures")
# Training imports Lightning Fabric when it launches, not with its module: name it, so that it counts.
LATE = {
    "warmup": "; import lightning_fabric",
    "train": "; import lightning_fabric",
    "figures": "; import matplotlib.pyplot",
    "features": "; import av, cv2",
}
ROUNDS = 3


def cost(command: list[str]) -> tuple[float, float]:
    """(CPU, wall) seconds of a command, the least of a few runs."""
    found = []
    for _ in range(ROUNDS):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            command,
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - start))
    return min(found)


def main() -> None:
    """Print one line a measurement."""
    base = cost([sys.executable, "-c", "pass"])
    print(f"{'python -c pass':28} {base[0]:6.2f} s CPU {base[1]:6.2f} s wall      1.0")
    measured = {
        f"stage {name}: start": [sys.executable, "-c", f"import equimodal.stages.{name}{LATE.get(name, '')}"]
        for name in STAGES
    }
    measured["equimodal --help"] = [sys.executable, "-m", "equimodal", "--help"]
    measured["import torch"] = [sys.executable, "-c", "import torch"]
    measured["snakemake -n (study)"] = [sys.executable, "-m", "snakemake", "-n"]
    for name, command in measured.items():
        cpu, wall = cost(command)
        print(f"{name:28} {cpu:6.2f} s CPU {wall:6.2f} s wall {cpu / base[0]:8.1f}")


if __name__ == "__main__":
    main()
