"""Where training runs: device, precision, processes and determinism, through Lightning Fabric."""

import os
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from equimodal.errors import UserError
from equimodal.settings.training import RuntimeSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def is_first_process() -> bool:
    """Whether this is the process that a person or an engine started, not one that DDP added to it.

    True before `launch` too.
    """
    return os.environ.get("LOCAL_RANK", "0") == "0"


def pick_device(runtime: RuntimeSettings) -> torch.device:
    """The device that `runtime.device` means on this machine."""
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "runtime.device = cuda, but torch sees no CUDA device: set runtime.device to auto or cpu, or"
            " install torch's CUDA build"
        )
    if runtime.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def stopwatch(device: torch.device) -> Callable[[], float]:
    """Seconds of work so far: processor time of all threads on a CPU, which other work on the machine hardly touches;
    wall time of what has been finished on a GPU.
    """
    if device.type != "cuda":
        return time.process_time

    def now() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return now


def make_deterministic(runtime: RuntimeSettings) -> None:
    """Fixed threads and deterministic kernels: the same settings give the same bits."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(runtime.threads)
    torch.set_deterministic_debug_mode(
        "warn"
    )  # as use_deterministic_algorithms, which imports torch.compile's inductor for 1 s
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid of the line above that costs a sixth of a step
    torch.backends.cudnn.benchmark = False


def launch(runtime: RuntimeSettings) -> "Fabric":
    """A launched Fabric: one process, or `runtime.devices` processes by DDP."""
    make_deterministic(runtime)
    device = pick_device(runtime)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightning_fabric import Fabric
        from lightning_fabric.plugins import MixedPrecision
        from lightning_fabric.strategies import DDPStrategy

        strategy = DDPStrategy(find_unused_parameters=True) if runtime.devices > 1 else "auto"
        # Fabric takes bfloat16 for float16 where it is told `precision` and `cpu`; torch has float16 there since 2.3.
        float16_on_cpu = runtime.precision == "16-mixed" and device.type == "cpu"
        fabric = Fabric(
            accelerator=device.type,
            devices=runtime.devices,
            strategy=strategy,
            precision=None if float16_on_cpu else runtime.precision,
            plugins=MixedPrecision("16-mixed", "cpu") if float16_on_cpu else None,
        )
        fabric.launch()
    torch.set_num_threads(runtime.threads)  # launching several processes sets it
    return fabric
