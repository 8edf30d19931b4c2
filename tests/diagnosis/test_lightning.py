"""The callback in Lightning's own loop, against gradients by hand, and that it changes nothing."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import lightning.pytorch
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import diagnosis_toys as toys
import equimodal
from equimodal.errors import UserError

NAMES = ("audio", "visual")
ENCODERS = {name: f"net.encoders.{name}" for name in NAMES}
INPUTS, LABELS = toys.vectors({"audio": 3.0, "visual": 0.5}, 64, seed=1)
RATE = 0.3
pytestmark = pytest.mark.filterwarnings("ignore:.*")  # Lightning's advice on workers and loggers


def module(package: Any = lightning.pytorch, names: tuple[str, str] = NAMES) -> Any:
    class Module(package.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = toys.MLPs(dict.fromkeys(names, 6), 3)

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            return cross_entropy(self.net(dict(zip(names, batch[:2], strict=True))), batch[2])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), RATE)

    return Module()


def fit(net: Any, *callbacks: Any, package: Any = lightning.pytorch, size: int = 32, **options: Any) -> Any:
    """Two epochs of batches of `size`, in order."""
    trainer = package.Trainer(
        **{"max_epochs": 2, "accelerator": "cpu", "accumulate_grad_batches": 2, **options},
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(net, toys.loader(*INPUTS.values(), LABELS, size=size))
    return net


def norms(net: Any) -> dict[str, tuple[float, float]]:
    """Of each encoder: the norms of the gradient of the loss over all samples, and of the weights."""
    found = {}
    for name in NAMES:
        weights = list(net.net.encoders[name].parameters())
        gradients = torch.autograd.grad(cross_entropy(net.net(INPUTS), LABELS), weights)
        found[name] = norm(gradients), norm(weights)
    return found


def norm(tensors: Any) -> float:
    return float(torch.cat([tensor.detach().flatten().double() for tensor in tensors]).norm())


@pytest.mark.parametrize("name", ["lightning.pytorch", "pytorch_lightning"])
def test_fit_ends_where_it_would_and_is_watched(name: str) -> None:
    """One step an epoch, of two accumulated batches: the gradient is that of the mean loss over all samples, though the
    weights moved by a clipped one."""
    package = import_module(name)
    clip = 0.01
    watch = equimodal.LightningMonitor(ENCODERS)
    watched = fit(module(package), watch, package=package, gradient_clip_val=clip)
    plain = fit(module(package), package=package, gradient_clip_val=clip)
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), plain.parameters(), strict=True))
    measured = watch.monitor.measured()
    for mode, (gradient, weights) in norms(module()).items():
        first, second = [entry.estimate.value for entry in measured.find("gradient", mode)]
        assert first == pytest.approx(gradient, rel=1e-4)
        assert first > 2 * clip and second != first
        assert measured.find("speed", mode)[0].estimate.value == pytest.approx((gradient / weights) ** 2, rel=1e-4)
        assert 0 < measured.find("moved", mode)[0].estimate.value * weights < 1.001 * RATE * clip


def test_mixed_precisions_scale_is_taken_out() -> None:
    """The scaler of 16-mixed, here with float32's own range (CPUs have no half precision worth waiting for)."""
    from lightning.pytorch.plugins import MixedPrecision

    class Float32(MixedPrecision):
        def autocast_context_manager(self) -> torch.autocast:
            return torch.autocast("cpu", enabled=False)

    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    watch = equimodal.LightningMonitor(ENCODERS)
    fit(module(), watch, plugins=[Float32("16-mixed", "cpu", scaler=scaler)])
    for mode, (gradient, _) in norms(module()).items():
        assert watch.monitor.measured().find("gradient", mode)[0].estimate.value == pytest.approx(gradient, rel=1e-4)


def test_every_step_counts_and_every_fit_begins_anew() -> None:
    watch = equimodal.LightningMonitor(ENCODERS)
    net = module()
    by_hand = []

    class ByHand(lightning.pytorch.Callback):
        def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
            by_hand.append(norm(weight.grad for weight in pl_module.net.encoders["audio"].parameters()))

    fit(net, watch, ByHand(), size=16, accumulate_grad_batches=1, max_steps=6)
    first = watch.monitor
    found = [entry.estimate.value for entry in first.measured().find("gradient", "audio")]
    assert found == pytest.approx([sum(by_hand[:4]) / 4, sum(by_hand[4:]) / 2], rel=1e-5)
    fit(net, watch, max_epochs=1)
    assert watch.monitor is not first
    assert [entry.at for entry in watch.monitor.measured().find("moved", "audio")] == [1.0]


def test_a_report_takes_its_monitor() -> None:
    watch = equimodal.LightningMonitor(ENCODERS)
    with pytest.raises(UserError, match="LightningMonitor: no training has begun with this callback"):
        _ = watch.monitor
    net: nn.Module = fit(module(), watch).net
    report = equimodal.diagnose(
        net, toys.batches(INPUTS, LABELS), modalities=NAMES, measures="zero", training=watch.monitor
    )
    assert len(report.measure("training").find("gradient", "visual")) == 2


def test_the_pages_snippet_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # Lightning writes logs and weights
    names = ("sound", "picture")
    given = {
        "equimodal": equimodal,
        "lightning": lightning,
        "module": module(names=names),
        "loader": toys.loader(*INPUTS.values(), LABELS, size=32),
        "held_out": toys.batches(dict(zip(names, INPUTS.values(), strict=True)), LABELS),
    }
    exec(toys.snippet("LightningMonitor"), given)
    assert [entry.at for entry in given["report"].measure("training").find("moved", "sound")] == [1.0, 2.0]


def test_shared_weights_and_names_reach_the_monitor() -> None:
    watch = equimodal.LightningMonitor(ENCODERS, shared=["net.heads"])
    with pytest.raises(UserError, match=r"shared: the model has no submodule 'net\.heads'; near: net\.head"):
        fit(module(), watch)


@pytest.mark.parametrize(
    "name, home, blocked, words",
    [
        (
            "LightningMonitor",
            "lightning_monitor",
            ("lightning.pytorch", "pytorch_lightning"),
            "equimodal.LightningMonitor: .*lightning.pytorch.*pytorch_lightning.*: pip install lightning$",
        ),
        (
            "HuggingFaceMonitor",
            "huggingface_monitor",
            ("transformers",),
            r'equimodal.HuggingFaceMonitor: .*transformers.*: pip install "transformers\[torch\]"$',
        ),
    ],
)
def test_a_framework_that_is_missing_is_one_line(
    name: str, home: str, blocked: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"equimodal.diagnosis.{home}", raising=False)
    for each in blocked:
        monkeypatch.setitem(sys.modules, each, None)
    with pytest.raises(UserError, match=words) as caught:
        getattr(equimodal, name)
    assert "\n" not in str(caught.value)


def test_pytorch_lightning_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "equimodal.diagnosis.lightning_monitor", raising=False)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    assert issubclass(equimodal.LightningMonitor, import_module("pytorch_lightning").Callback)
    sys.modules.pop("equimodal.diagnosis.lightning_monitor")  # the next test's is Lightning's again
