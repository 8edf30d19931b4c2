"""Stage weights and the trainings that start from what it writes."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_dataset
import weight_files
from equimodal import progress
from equimodal.datasets.base import FileFact
from equimodal.datasets.fetch import web
from equimodal.engines.layout import model_folder, warmup_path, weights_path
from equimodal.errors import UserError
from equimodal.params import Params
from equimodal.stages import evaluate, prototypes, train, warmup, weights
from equimodal.store import file_sha256, read_json, read_tensors
from lfs_server import Behaviour, serving
from tiny_method import learned

TINY = {"width": 4, "layers": (1, 1, 1, 1)}
FILE = "weights/mine.pth"


def with_weights(source: str = FILE, **model: Any) -> Params:
    return tiny_dataset.params(model={"weights": source, **model})


@pytest.fixture
def mine(tiny: Path) -> dict[str, torch.Tensor]:
    """weights/mine.pth in the tiny dataset's folder; its content."""
    return weight_files.write(Path(FILE), **TINY)


def test_without_weights_the_file_is_empty_and_cheap(tiny: Path) -> None:
    weights.run(tiny_dataset.params(), "tiny")
    assert read_tensors(weights_path("tiny")) == ({}, None)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_file_becomes_the_declared_one(tiny: Path, ending: str) -> None:
    made = weight_files.write(Path(f"a.{ending}"), **TINY)
    weights.run(with_weights(f"a.{ending}"), "tiny")
    tensors, meta = read_tensors(weights_path("tiny"))
    assert meta == {"sha256": file_sha256(Path(f"a.{ending}"))}
    assert set(made) - set(tensors) == {"fc.weight", "fc.bias"} and all(
        torch.equal(value, made[name]) for name, value in tensors.items()
    )
    first = weights_path("tiny").read_bytes()
    weights.run(with_weights(f"a.{ending}"), "tiny")
    assert weights_path("tiny").read_bytes() == first


def test_another_architecture_leaves_nothing_behind(tiny: Path) -> None:
    weight_files.write(Path(FILE), width=8, layers=(1, 1, 1, 1))
    with pytest.raises(
        UserError,
        match=r"conv1\.weight is \[8, 3, 7, 7\], the model needs \[4, 3, 7, 7\]; the file fits model.width: 8",
    ):
        weights.run(with_weights(), "tiny")
    assert not weights_path("tiny").exists()


def test_a_run_with_weights_starts_from_them_differs_and_names_them(tiny: Path, mine: dict[str, torch.Tensor]) -> None:
    train.run(tiny_dataset.params(), "tiny", "joint", 0)
    plain = learned(model_folder("tiny", "joint", 0) / "last.safetensors")
    params = with_weights()
    weights.run(params, "tiny")
    Path(FILE).unlink()  # training reads the declared file alone
    train.run(params, "tiny", "joint", 0)
    assert learned(model_folder("tiny", "joint", 0) / "last.safetensors") != plain
    evaluate.run(params, "tiny", "joint", 0)
    sha256 = read_tensors(weights_path("tiny"))[1]["sha256"]
    for name in ("curves.json", "evaluation.json"):
        model = read_json(model_folder("tiny", "joint", 0) / name)["meta"]["settings"]["model"]
        assert model["weights"] == {"modalities": ["visual"], "sha256": sha256} and "weights_for" not in model
    with pytest.raises(
        UserError, match=r"was trained with model\.weights = .*params\.yaml now says null: train it again"
    ):
        evaluate.run(tiny_dataset.params(), "tiny", "joint", 0)


def test_a_run_without_weights_does_not_name_them(tiny: Path) -> None:
    train.run(tiny_dataset.params(), "tiny", "joint", 0)
    assert not [
        key
        for key in read_json(model_folder("tiny", "joint", 0) / "curves.json")["meta"]["settings"]["model"]
        if "weights" in key
    ]


def test_aim_s_warm_up_starts_from_them_and_the_rest_goes_on_from_it(tiny: Path, mine: dict[str, torch.Tensor]) -> None:
    params = tiny_dataset.params(
        model={"weights": FILE, "weights_for": ["visual", "audio"]}, methods={"aim": {"start_epoch": 0}}
    )
    weights.run(params, "tiny")
    warmup.run(params, "tiny", "aim", 0)
    start, _ = read_tensors(warmup_path("tiny", "aim", 0))
    for modality in ("visual", "audio"):
        for name in ("layer1.0.conv1.weight", "bn1.running_var", "layer4.0.bn2.weight"):
            assert torch.equal(start[f"module/model.encoders.{modality}.{name}"], mine[name])
    assert torch.equal(start["module/model.encoders.visual.conv1.weight"], mine["conv1.weight"])
    assert torch.allclose(
        start["module/model.encoders.audio.conv1.weight"], mine["conv1.weight"].sum(1, keepdim=True), atol=1e-6
    )
    prototypes.run(params, "tiny", "aim", 0)
    train.run(params, "tiny", "aim", 0)
    evaluate.run(params, "tiny", "aim", 0)


def test_an_interrupted_run_goes_on_and_one_of_other_weights_does_not(
    tiny: Path, mine: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = with_weights()
    weights.run(params, "tiny")
    train.run(params, "tiny", "joint", 0)
    path = model_folder("tiny", "joint", 0) / "last.safetensors"
    unbroken = path.read_bytes()

    def interrupt() -> None:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(
                "equimodal.stages.running.Run._report", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt)
            )
            train.run(params, "tiny", "joint", 0)

    interrupt()
    capsys.readouterr()
    train.run(params, "tiny", "joint", 0)
    assert "continuing after epoch 0" in capsys.readouterr().err and path.read_bytes() == unbroken
    interrupt()
    weight_files.write(Path(FILE), **TINY, seed=1)
    weights.run(params, "tiny")
    train.run(params, "tiny", "joint", 0)
    assert "continuing" not in capsys.readouterr().err and path.read_bytes() != unbroken


def test_training_without_the_stage_says_what_to_build(tiny: Path, mine: dict[str, torch.Tensor]) -> None:
    with pytest.raises(UserError, match=r"data/tiny/weights\.safetensors is missing: build it first"):
        train.run(with_weights(), "tiny", "joint", 0)
    weights.run(tiny_dataset.params(), "tiny")
    with pytest.raises(UserError, match=r"holds no weights, but params\.yaml names some"):
        train.run(with_weights(), "tiny", "joint", 0)


@pytest.fixture
def home(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Behaviour]:
    """A server that has a ResNet18 of width 64, which stands for torchvision's."""
    weight_files.write(Path("public.pth"), classes=2)
    content = Path("public.pth").read_bytes()
    monkeypatch.setattr(web, "PAUSE", 0.0)
    with serving() as server:
        fact = server.add(content)
        monkeypatch.setattr(weights, "HOME", f"{server.url}/objects/{fact.sha256}")
        monkeypatch.setattr(weights, "FACT", fact)
        yield server


def test_a_download_is_resumed_checked_and_kept(
    home: Behaviour, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    params = with_weights("download", width=64, layers=[2, 2, 2, 2])
    home.cut[str(weights.FACT.sha256)] = 1
    with (
        monkeypatch.context() as patch,
        pytest.raises(UserError, match=r"datasets\.tiny\.model\.weights = download: .* broke off at \d+"),
    ):
        patch.setattr(web, "ATTEMPTS", 1)
        weights.run(params, "tiny")
    assert not weights.CACHE.exists() and not weights_path("tiny").exists()
    weights.run(params, "tiny")
    assert home.gets[-1][1] is not None, "the second request asks for the rest only"
    assert read_tensors(weights_path("tiny"))[1] == {"sha256": weights.FACT.sha256}
    asked = len(home.gets)
    weights.run(params, "tiny")
    assert len(home.gets) == asked
    weights.CACHE.write_bytes(b"spoilt")
    weights.run(params, "tiny")
    assert len(home.gets) == asked + 1 and file_sha256(weights.CACHE) == weights.FACT.sha256
    size = math.ceil(weights.FACT.bytes / 1e6)
    assert f"{weights.CACHE.name}: {size} of {size} MB, " in capsys.readouterr().err


def test_a_download_that_is_another_file_is_refused(home: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "FACT", FileFact(weights.FACT.bytes, "0" * 64))
    with pytest.raises(UserError, match=r"model\.weights = download: .* is not the file of the manifest: sha256"):
        weights.run(with_weights("download", width=64, layers=[2, 2, 2, 2]), "tiny")
    assert not weights.CACHE.exists()


def test_the_pinned_file_is_torchvision_s() -> None:
    """Its name holds the first digits of its sha256."""
    digits = weights.HOME.rpartition("-")[2].removesuffix(".pth")
    assert (
        weights.FACT.sha256 is not None
        and weights.FACT.sha256.startswith(digits)
        and weights.CACHE.name == weights.HOME.rpartition("/")[2]
    )


def test_a_dataset_s_own_list_of_another_modality_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"datasets\.tiny\.model\.weights_for names 'sound', but tiny has: audio, visual"
    ):
        tiny_dataset.params(datasets={"tiny": {"model": {"weights": "a.pth", "weights_for": ["sound"]}}})


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            {"weights": "download"},
            r"datasets\.tiny\.model has weights: download, a ResNet18 \(width: 64.*and width: 4, layers: \[1,"
            r" 1, 1, 1\]",
        ),
        ({"weights": "a.pth", "weights_for": ["sound"]}, r"model\.weights_for names 'sound', which no dataset has"),
        ({"weights": 3}, r"model\.weights = 3"),
        ({"weights_for": []}, r"model\.weights_for = \[\]"),
    ],
)
def test_settings_that_cannot_be_are_refused(model: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        tiny_dataset.params(model=model)
