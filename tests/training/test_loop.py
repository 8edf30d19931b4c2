"""The loop: what a method may rely on, which epoch each rule selects, how it stops, and how it goes on."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_dataset
from equimodal.errors import UserError
from equimodal.methods.base import Batch, Method
from equimodal.methods.joint.method import Joint
from equimodal.models.framework import Outputs
from equimodal.seeding import derive
from equimodal.stages.setup import Setup
from equimodal.store import read_tensors, write_tensors
from equimodal.training import loop as loop_module
from equimodal.training.loop import Loop


def made(
    kind: type[Method] = Joint,
    folder: str = "run",
    key: str = "key",
    on_epoch: Callable[..., None] | None = None,
    **overrides: Any,
) -> Loop:
    params = tiny_dataset.params(**overrides, methods={"aim": {"start_epoch": 0}})
    setup = Setup.open(params, "tiny", "joint", 0, kind=kind)
    return Loop(
        setup.method(),
        setup.data,
        params.training,
        params.runtime,
        0,
        Path(folder),
        key,
        "train of tiny joint, seed 0",
        on_epoch,
    )


def state_bytes(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


class Extended(Joint):
    """Joint training with a second optimizer, parameters of its own, gradient edits, random draws and a counter: all
    that a checkpoint must hold.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.own = torch.optim.Adam([self.scale], lr=0.1)
        self.register_buffer("seen", torch.zeros(()))
        self.steps = 0

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"own": self.own}

    def loss(self, batch: Batch, outputs: Outputs) -> torch.Tensor:
        return super().loss(batch, outputs) * self.scale.detach() + (self.scale - torch.rand(())).square()

    def after_backward(self, loop: Loop) -> None:
        self.own.step()
        self.own.zero_grad()
        self.seen += 1
        self.steps += 1

    def extra(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_extra(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_going_on_from_a_checkpoint_is_never_having_stopped(tiny: Path, optimizer: str) -> None:
    settings = {"training": {"epochs": 4, "optimizer": {"name": optimizer, "lr": 0.01}}}
    made(Extended, "unbroken", **settings).run()
    first = made(Extended, "broken", **settings)
    first.run(until=1)
    torch.rand(7)  # another process would stand elsewhere in the global stream
    second = made(Extended, "broken", **settings)
    assert second.resume() and second.progress.epoch == 1
    second.run(until=3)
    third = made(Extended, "broken", **settings)
    assert third.resume()
    third.run()
    assert state_bytes("broken") == state_bytes("unbroken")
    assert third.method.steps == 16 and float(third.method.seen) == 16  # type: ignore[attr-defined, arg-type]


def test_a_checkpoint_of_other_settings_is_dropped(tiny: Path) -> None:
    made(key="one").run(until=1)
    other = made(key="two")
    assert not other.resume() and other.progress.epoch == 0 and not Path("run").exists()
    assert not made().resume()


def test_hooks_come_in_the_promised_order(tiny: Path) -> None:
    calls: list[str] = []

    class Spy(Joint):
        def prepare(self, loop: Loop) -> None:
            calls.append("prepare")

        def begin_epoch(self, epoch: int, loop: Loop) -> None:
            assert self.training and loop.progress.epoch == epoch
            calls.append(f"begin {epoch}")

        def forward(self, batch: Batch) -> Any:
            calls.append("forward")
            return super().forward(batch)

        def after_backward(self, loop: Loop) -> None:
            assert all(p.grad is not None for p in self.model.parameters())
            calls.append("after")

        def end_epoch(self, epoch: int, loop: Loop) -> dict[str, float]:
            assert self.training
            calls.append(f"end {epoch}")
            return {"spy/value": 7.0 + epoch}

    loop = made(
        Spy,
        training={"epochs": 2},
        on_epoch=lambda epoch, metrics: calls.append(f"logged {epoch} {metrics['spy/value']}"),
    )
    loop.run()
    steps = ["forward", "after"] * 4
    assert calls == ["prepare", "begin 0", *steps, "end 0", "logged 0 7.0", "begin 1", *steps, "end 1", "logged 1 8.0"]


def test_curves_hold_every_measure(tiny: Path) -> None:
    history = made(training={"epochs": 1}).run().history
    [entry] = history
    names = {
        f"{split}/{name}"
        for split in ("val", "test")
        for name in ("loss", "accuracy", "macro_f1", "audio/accuracy", "visual/accuracy")
    }
    assert entry["epoch"] == 0 and set(entry["metrics"]) == names | {"train/loss", "train/accuracy", "train/lr"}


def test_training_measures_are_means_of_the_epochs_batches(tiny: Path) -> None:
    losses: list[float] = []

    class Recorded(Joint):
        def loss(self, batch: Batch, outputs: Outputs) -> torch.Tensor:
            value = super().loss(batch, outputs)
            losses.append(float(value.detach()))
            return value

    metrics = made(Recorded, training={"epochs": 1}).run().history[0]["metrics"]
    assert metrics["train/loss"] == pytest.approx(sum(losses) / 4) and len(losses) == 4
    assert round(metrics["train/accuracy"] * 60, 6) % 1 == 0


def test_the_rate_follows_the_schedule_and_the_global_generator_the_epoch(tiny: Path) -> None:
    seen: list[tuple[float, float]] = []

    class Spy(Joint):
        def begin_epoch(self, epoch: int, loop: Loop) -> None:
            rates = {group["lr"] for group in loop.plain_optimizer.param_groups}
            seen.append((rates.pop(), float(torch.rand(()))))

    made(
        Spy, training={"epochs": 3, "schedule": {"name": "step", "step": 2, "gamma": 0.1}, "optimizer": {"lr": 0.01}}
    ).run()
    assert [rate for rate, _ in seen] == pytest.approx([0.01, 0.01, 0.001])
    assert [draw for _, draw in seen] == [
        float(torch.rand((), generator=torch.Generator().manual_seed(derive(0, "epoch", e)))) for e in range(3)
    ]


@pytest.mark.parametrize("limit", [None, 0.05])
def test_gradients_are_clipped_by_their_norm(tiny: Path, limit: float | None) -> None:
    norms: list[float] = []
    loop = made(training={"epochs": 1, "clip_norm": limit})

    def record(optimizer: torch.optim.Optimizer, *rest: Any) -> None:
        norms.append(float(torch.stack([p.grad.norm() for g in optimizer.param_groups for p in g["params"]]).norm()))

    loop.plain_optimizer.register_step_pre_hook(record)
    loop.run()
    if limit is None:
        assert max(norms) > 0.1
    else:
        assert norms == pytest.approx([limit] * 4, rel=1e-3)


def scripted(monkeypatch: pytest.MonkeyPatch, values: dict[str, list[tuple[float, float]]]) -> None:
    """Let the epochs' (accuracy, loss) of a split be these."""
    left = {split: list(pairs) for split, pairs in values.items()}

    def measures(predictions: str, objective: object, prefix: str) -> dict[str, float]:
        accuracy, loss = left[prefix].pop(0)
        return {f"{prefix}/accuracy": accuracy, f"{prefix}/loss": loss}

    monkeypatch.setattr(loop_module, "predict", lambda model, data, split, size: split)
    monkeypatch.setattr(loop_module, "measures", measures)


def test_each_rule_selects_its_epoch(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Highest accuracy; among equals the lowest loss; among those the earlier."""
    val = [(0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.7, 0.8), (0.6, 0.1)]
    test = [(0.9, 1.0), (0.1, 0.2), (0.1, 0.1), (0.2, 0.3), (0.3, 0.3)]
    scripted(monkeypatch, {"val": val, "test": test})
    weights: list[torch.Tensor] = []
    loop = made(
        training={"epochs": 5},
        on_epoch=lambda epoch, metrics: weights.append(loop.method.model.fusion.linear.weight.detach().clone()),
    )
    loop.about = {"seed": 0}
    loop.run()
    assert loop.progress.selected == {"val": 2, "test": 0, "last": 4}
    for rule, epoch in (("val", 2), ("test", 0)):
        tensors, meta = read_tensors(Path(f"run/{rule}-{epoch}.safetensors"))
        own = {"modalities": ["audio", "visual"], "structure": {}, "about": {"seed": 0}}
        assert meta == {"rule": rule, "epoch": epoch, **own}
        assert torch.equal(tensors["fusion.linear.weight"], weights[epoch])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in range(20):
        content[len(content) * (2 * place + 1) // 40] ^= 1 << place % 8
    path.write_bytes(content)


def other_epoch(path: Path) -> None:
    tensors, meta = read_tensors(path)
    write_tensors(path, tensors, {**meta, "epoch": 0}, sealed=False)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("state", flipped),
        ("state", other_epoch),
        ("state", lambda path: path.write_bytes(b"")),
        ("val-0", flipped),
        ("val-0", Path.unlink),
    ],
    ids=["bits of the state", "epoch", "empty", "bits of chosen weights", "no chosen weights"],
)
def test_a_damaged_checkpoint_starts_afresh(
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    damage: Callable[[Path], None],
) -> None:
    scripted(monkeypatch, {split: [(0.5, 1.0), (0.4, 1.0)] for split in ("val", "test")})
    made().run(until=2)
    assert sorted(path.name for path in Path("run").iterdir()) == [
        f"{n}.safetensors" for n in ("state", "test-0", "val-0")
    ]
    assert made().resume()
    damage(Path(f"run/{name}.safetensors"))
    capsys.readouterr()
    loop = made()
    assert not loop.resume() and loop.progress.epoch == 0 and not Path("run").exists()
    said = capsys.readouterr().err
    assert said.startswith("train of tiny joint, seed 0: run/") and said.endswith(": starting afresh\n")
    assert said.count("\n") == 1


def test_a_kill_between_the_chosen_weights_and_the_state_loses_one_epoch(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [(0.5, 1.0), (0.6, 1.0), (0.6, 1.0)]
    scripted(monkeypatch, {split: [*scores] for split in ("val", "test")})
    loop = made()
    loop.run(until=1)

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        loop.run(until=2)
    assert Path("run/val-1.safetensors").is_file()
    resumed = made()
    assert resumed.resume() and resumed.progress.epoch == 1 and resumed.progress.selected["val"] == 0


class Broken(Joint):
    """Its loss is spoilt in the second epoch."""

    value = math.nan

    def begin_epoch(self, epoch: int, loop: Loop) -> None:
        self.epoch = epoch

    def loss(self, batch: Batch, outputs: Outputs) -> torch.Tensor:
        return super().loss(batch, outputs) + (self.value if self.epoch == 1 else 0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_with_epoch_and_settings(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    monkeypatch.setattr(Broken, "value", value)
    with pytest.raises(
        UserError,
        match=rf"train of tiny joint, seed 0: the training loss became {value} in epoch 1; lower"
        r" training.optimizer.lr \(0.05\)",
    ) as caught:
        made(Broken, training={"epochs": 3}).run()
    assert "\n" not in str(caught.value) and "clip_norm" in str(caught.value)
    again = made(Broken, training={"epochs": 3})
    assert again.resume() and again.progress.epoch == 1  # the good epoch is kept


def test_a_model_that_breaks_in_the_last_step_is_found_in_validation(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, {"val": [(0.5, math.nan)], "test": [(0.5, 1.0)]})
    with pytest.raises(UserError, match="the validation loss became nan in epoch 0"):
        made().run()


def test_too_few_samples_for_a_batch_are_refused(tiny: Path) -> None:
    tiny_dataset.write(tiny, counts={"train": 1, "val": 3, "test": 3})
    with pytest.raises(UserError, match=r"1 training samples give 0 batches of 16"):
        made()


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-mixed", torch.bfloat16), ("16-mixed", torch.float16)])
def test_mixed_precision_trains_on_the_cpu_and_keeps_its_weights_exact(
    tiny: Path, precision: str, dtype: torch.dtype
) -> None:
    loop = made(training={"epochs": 1}, runtime={"precision": precision})
    kinds = set()
    loop.method.model.encoders["audio"].blocks[1].register_forward_hook(lambda *seen: kinds.add(seen[2].dtype))
    metrics = loop.run().history[0]["metrics"]
    assert math.isfinite(metrics["train/loss"]) and {p.dtype for p in loop.method.parameters()} == {torch.float32}
    assert dtype in kinds
    assert (
        metrics["train/loss"] != made(folder="full", training={"epochs": 1}).run().history[0]["metrics"]["train/loss"]
    )


def test_methods_see_true_gradients_whatever_the_scale_of_float16(tiny: Path) -> None:
    norms = {}
    for precision in ("32-true", "16-mixed"):
        loop = made(runtime={"precision": precision})
        seen: list[float] = []
        loop.method.after_backward = lambda loop, seen=seen: seen.append(  # type: ignore[method-assign]
            float(loop.method.model.fusion.linear.weight.grad.norm())
        )
        batch = next(loop.batches(0))
        loop.method.training_step(batch, loop)
        norms[precision] = seen[0]
    assert norms["16-mixed"] == pytest.approx(norms["32-true"], rel=0.02)


def test_threads_come_from_the_settings(tiny: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        made(runtime={"threads": 1})
        assert torch.get_num_threads() == 1 and torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(before)


def test_settings_that_this_machine_cannot_do_are_one_line(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"runtime.device = cuda, but torch sees no CUDA device"):
        made(runtime={"device": "cuda"})


def test_a_scalar_that_some_steps_log_is_their_mean(tiny: Path) -> None:
    loop = made(training={"epochs": 1})
    plain, count = loop.method.training_step, iter(range(99))

    def logging(batch: Batch, trainer: Any) -> Any:
        step, number = plain(batch, trainer), next(count)
        more = {"every": torch.tensor(float(number))} | ({"some": torch.tensor(10.0 + number)} if number % 2 else {})
        return step._replace(logs=more)

    loop.method.training_step = logging  # type: ignore[method-assign]
    metrics = loop.run().history[0]["metrics"]
    assert (metrics["every"], metrics["some"]) == (1.5, 12.0)  # of four steps, and of the second and the fourth
