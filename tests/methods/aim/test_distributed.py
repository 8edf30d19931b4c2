"""Two real processes (gloo) on two different half-batches: DDP's gradients are the mean of the halves', and AIM
modulates by the whole batch. Bare processes first, then (slow) as `equimodal train` starts them.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import multiprocessing, nn

import aim_toys
import tiny_dataset
import training_process
from equimodal.methods.base import Batch, Method
from equimodal.methods.distributed import average
from equimodal.models.encoder import join
from equimodal.models.padded import Padded
from equimodal.params import Params
from equimodal.stages.setup import Setup

# Fabric starts further processes from the script's own path, so this must be a file. Each process takes one step's
# forward and backward pass on its own batch, and leaves its batch, gradients and logs.
STEPS = """
from equimodal.models.padded import Padded

batch = next(loop.batches(0))
step = loop.module(batch)
loop.fabric.backward(step.loss)
found["labels"] = batch.labels
for name, value in batch.inputs.items():
    parts = {"values": value.values, "mask": value.mask} if isinstance(value, Padded) else {"values": value}
    found |= {f"input/{name}/{part}": tensor.contiguous() for part, tensor in parts.items()}
found |= {f"grad/{name}": p.grad for name, p in loop.method.model.named_parameters()}
found |= {f"log/{name}": value.detach().reshape(1) for name, value in step.logs.items()}
"""
Inputs = dict[str, torch.Tensor | Padded]


MODALITIES = ("audio", "visual")


def half(rank: int) -> Batch:
    """A process's batch of toy data."""
    return Batch(*aim_toys.data(MODALITIES, 8, seed=rank))


def joint_gradients(model: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
    """Of the cross entropy on the fused logits, by parameter."""
    nn.functional.cross_entropy(model(batch.inputs).logits, batch.labels).backward()
    return {name.removeprefix("module."): p.grad.clone() for name, p in model.named_parameters()}


def modulation_logs(batch: Batch, **settings: Any) -> dict[str, torch.Tensor]:
    """AIM's scalars on a batch; with running statistics a sample's outputs do not depend on its batch. The decoupling
    learns on random samples of each process, so it is left as it begins.
    """
    method = aim_toys.make(aim_toys.quick(pdm={"steps": 0}, **settings)).eval()
    return {name: value.detach() for name, value in method.stepper.terms(batch.inputs, batch.labels).logs.items()}


def one_of_two(rank: int, meeting: str, folder: str) -> None:
    """What a process does."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    ddp = nn.parallel.DistributedDataParallel(aim_toys.build())
    found = {
        "gradients": joint_gradients(ddp, half(rank)),
        **{choice: modulation_logs(half(rank), aux_modalities=choice) for choice in ("all", "dominant")},
        "mean": average(torch.tensor([rank, 2.0]), torch.tensor(3.0 * rank)),
    }
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes found on their halves."""
    folder = tmp_path_factory.mktemp("two")
    # A fork has torch imported already; with CUDA a forked process may not use autograd.
    method = "spawn" if torch.cuda.is_available() else "fork"
    multiprocessing.start_processes(
        one_of_two, args=(str(folder / "meeting"), str(folder)), nprocs=2, start_method=method
    )
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def check_modulation(
    first: dict[str, Any], second: dict[str, Any], halves: list[dict[str, Any]], whole: dict[str, Any]
) -> None:
    """Both processes have the whole batch's s, s~, rho and alpha, which are not their halves'."""
    names = [name for name in whole if name.rpartition("/")[2] in ("s", "s_aux", "rho", "rho_aux", "alpha")]
    assert {name.rpartition("/")[2] for name in names} == {"s", "s_aux", "rho", "rho_aux", "alpha"}
    assert any(not torch.allclose(halves[0][name], halves[1][name], rtol=1e-3) for name in names if name in halves[0])
    for name in names:
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], whole[name], rtol=1e-5, atol=1e-6)


def test_ddp_gradients_of_joint_training_are_the_mean_of_two_half_batches(both: list[dict[str, Any]]) -> None:
    halves = [joint_gradients(aim_toys.build(), half(rank)) for rank in (0, 1)]
    for name, gradient in halves[0].items():
        assert not torch.allclose(gradient, halves[1][name], rtol=1e-2), name
        for found in both:
            torch.testing.assert_close(found["gradients"][name], (gradient + halves[1][name]) / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("aux_modalities", ["all", "dominant"])
def test_aim_modulates_by_the_whole_batch(both: list[dict[str, Any]], aux_modalities: str) -> None:
    batches = [half(rank) for rank in (0, 1)]
    whole = Batch(
        {name: torch.cat([batch.inputs[name] for batch in batches]) for name in MODALITIES},
        torch.cat([batch.labels for batch in batches]),
    )
    first, second = (found[aux_modalities] for found in both)
    logs = [modulation_logs(batch, aux_modalities=aux_modalities) for batch in (*batches, whole)]
    check_modulation(first, second, logs[:2], logs[2])


def test_means_over_processes_keep_shapes_and_a_single_process_keeps_its_tensors(both: list[dict[str, Any]]) -> None:
    for found in both:
        assert (
            found["mean"][0].tolist() == [0.5, 2.0] and found["mean"][1].item() == 1.5 and found["mean"][1].dim() == 0
        )
    value = torch.tensor(1.0)
    assert average(value)[0] is value


def two_processes(method: str) -> list[dict[str, torch.Tensor]]:
    """What either process left."""
    return [tensors for tensors, _ in training_process.steps(STEPS, method)]


def alone(params: Params, name: str) -> Method:
    """The same untrained method, in this process."""
    return Setup.open(params, "tiny", name, 0).method().train()


def batch_of(found: dict[str, torch.Tensor]) -> Batch:
    """The batch that a process saw."""
    names = {name.split("/")[1] for name in found if name.startswith("input/")}
    inputs: Inputs = {}
    for name in sorted(names):
        values, mask = found[f"input/{name}/values"], found.get(f"input/{name}/mask")
        inputs[name] = values if mask is None else Padded(values, mask)
    return Batch(inputs, found["labels"])


@pytest.mark.slow
def test_gradients_of_a_training_step_are_the_mean_of_two_half_batches(tiny: Path) -> None:
    params = tiny_dataset.write_params(tiny, runtime={"devices": 2})
    first, second = two_processes("joint")
    halves = []
    for found in (first, second):
        model = alone(params, "joint").model
        halves.append({f"grad/{name}": value for name, value in joint_gradients(model, batch_of(found)).items()})
    assert not torch.equal(first["labels"], second["labels"])
    for name, gradient in halves[0].items():
        assert not torch.allclose(gradient, halves[1][name], rtol=1e-2), name
        for found in (first, second):
            torch.testing.assert_close(found[name], (gradient + halves[1][name]) / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_training_step_of_aim_modulates_by_the_whole_batch(tiny: Path) -> None:
    """Encoders without batch normalisation: a half-batch's outputs are what they are in the whole one. The decoupling
    learns on random samples of each process, so it is left as it begins.
    """
    tiny_dataset.write(tiny, third=tiny_dataset.SEQUENCES)
    more = {"runtime": {"devices": 2}, "model": {"transformer": {"dropout": 0.0}}}
    more["methods"] = {"aim": {"pdm": {"steps": 0}}}
    params = tiny_dataset.write_params(tiny, tiny_dataset.SEQUENCES, **more)
    first, second = two_processes("aim")
    batches = [batch_of(found) for found in (first, second)]
    inputs = {name: join(batches[0].inputs[name], batches[1].inputs[name]) for name in batches[0].inputs}
    whole = Batch(inputs, torch.cat([batch.labels for batch in batches]))
    fresh = alone(params, "aim")
    logs = [
        {f"log/{name}": value.detach().reshape(1) for name, value in terms.logs.items()}
        for terms in (copy.deepcopy(fresh).stepper.terms(b.inputs, b.labels) for b in (*batches, whole))
    ]
    check_modulation(first, second, logs[:2], logs[2])
