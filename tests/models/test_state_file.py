"""Files of weights: both formats read by name; anything else refused with one line that says what it is."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import weight_files
from equimodal.errors import UserError
from equimodal.models.state_file import read_resnet

WIDTH, LAYERS = 8, (1, 2, 1, 1)


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.safetensors"])
def test_both_formats_give_the_same_weights_without_the_classifier(tmp_path: Path, name: str) -> None:
    made = weight_files.write(tmp_path / name, width=WIDTH, layers=LAYERS)
    read = read_resnet(tmp_path / name, WIDTH, LAYERS)
    assert set(made) - set(read) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, made[key]) for key, value in read.items())


def test_half_precision_and_missing_counters_are_fine(tmp_path: Path) -> None:
    made = {
        name: value.half() if value.is_floating_point() else value
        for name, value in weight_files.state(WIDTH, LAYERS).items()
    }
    torch.save({name: value for name, value in made.items() if "num_batches" not in name}, tmp_path / "a.pth")
    read = read_resnet(tmp_path / "a.pth", WIDTH, LAYERS)
    assert {value.dtype for value in read.values()} == {torch.float32} and len(read) < len(made)


def saved(content: object) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


def resnet(**kind: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        weight_files.write(path, **{"width": WIDTH, "layers": LAYERS, **kind})

    return write


def bottlenecks(path: Path) -> None:
    """The first names of torchvision's resnet50."""
    tensors = weight_files.state(WIDTH, LAYERS)
    tensors["layer1.0.conv1.weight"] = torch.zeros(WIDTH, WIDTH, 1, 1)
    torch.save({**tensors, "layer1.0.conv3.weight": torch.zeros(4 * WIDTH, WIDTH, 1, 1)}, path)


def truncated(path: Path) -> None:
    resnet()(path)
    os.truncate(path, path.stat().st_size // 2)


def not_finite(path: Path) -> None:
    tensors = weight_files.state(WIDTH, LAYERS)
    tensors["bn1.bias"][0] = float("nan")
    torch.save(tensors, path)


def with_bias(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        tensors = weight_files.state(WIDTH, LAYERS)
        torch.save({**tensors, "bn1.bias": change(tensors["bn1.bias"])}, path)

    return write


def counter(change: torch.Tensor) -> Callable[[Path], None]:
    return lambda path: torch.save({**weight_files.state(WIDTH, LAYERS), "bn1.num_batches_tracked": change}, path)


def compressed(path: Path) -> None:
    resnet()(path)
    with zipfile.ZipFile(path) as stored:
        files = {entry.filename: stored.read(entry) for entry in stored.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


class Evil:
    """Would run a command if it were unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch hacked",)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (
            bottlenecks,
            r"layer1\.0\.conv1\.weight is \[8, 8, 1, 1\], the model needs \[8, 8, 3, 3\]; it is a ResNet of"
            r" bottleneck blocks",
        ),
        (
            resnet(width=64),
            r"conv1\.weight is \[64, 3, 7, 7\], the model needs \[8, 3, 7, 7\]; the file fits model.width:"
            r" 64, model.layers: \[1, 2, 1, 1\]",
        ),
        (
            resnet(layers=(3, 4, 6, 3)),
            r"layer1\.1\.conv1\.weight is not in the model; the file fits model.width: 8, model.layers: \[3,"
            r" 4, 6, 3\], params.yaml has 8",
        ),
        (
            resnet(layers=(1, 1, 1, 1)),
            r"layer2\.1\.conv1\.weight is not in it; the file fits model.width: 8, model.layers: \[1, 1, 1, 1\]",
        ),
        (
            resnet(channels=1),
            r"conv1\.weight is \[8, 1, 7, 7\], the model needs \[8, 3, 7, 7\]; give .*, trained on RGB",
        ),
        (
            saved({"features.0.weight": torch.zeros(2)}),
            r"conv1\.weight is not in it; give a state dict of torchvision's resnet18",
        ),
        (
            saved({"state_dict": weight_files.state(WIDTH, LAYERS), "epoch": 3}),
            r"is no state dict \(found: keys state_dict, epoch\)",
        ),
        (saved([torch.zeros(2)]), r"is no state dict \(found: list\)"),
        (saved({}), r"is no state dict \(found: dict\)"),
        (not_finite, r"bn1\.bias has values that are not finite"),
        (with_bias(lambda bias: bias.to_sparse()), r"bn1\.bias is a sparse tensor \(torch\.sparse_coo\), not plain"),
        (with_bias(lambda bias: bias.to("meta")), r"bn1\.bias is .*without values .* not plain numbers"),
        (with_bias(lambda bias: bias.to(torch.complex64)), r"bn1\.bias is of torch\.complex64 \[8\], not plain"),
        (
            with_bias(lambda bias: bias.to(torch.float8_e4m3fn)),
            r"bn1\.bias is of torch\.float8_e4m3fn \[8\], not plain",
        ),
        (with_bias(lambda bias: bias.to(torch.int8)), r"bn1\.bias is of torch\.int8 \[8\], not plain"),
        (
            with_bias(lambda bias: torch.quantize_per_tensor(bias, 0.1, 0, torch.qint8)),
            r"bn1\.bias is of torch\.qint8 \[8\], not plain|cannot be read as a state dict",
        ),
        (counter(torch.tensor(1.5)), r"num_batches_tracked is of torch\.float32 \[\], not a whole number"),
        (counter(torch.zeros(3, dtype=torch.int64)), r"num_batches_tracked is of torch\.int64 \[3\], not a whole"),
        (compressed, r"cannot be read .*: it is a compressed archive, as torch\.save writes none"),
        (truncated, r"cannot be read as a state dict .* get it again"),
        (lambda path: path.write_text("<!DOCTYPE html><html>404</html>"), r"it is a web page"),
        (lambda path: path.write_bytes(b""), r"cannot be read as a state dict"),
        (saved({"conv1.weight": Evil()}), r"cannot be read as a state dict"),
    ],
)
def test_what_does_not_fit_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.pth")
    with pytest.raises(UserError, match=said) as caught:
        read_resnet(tmp_path / "a.pth", WIDTH, LAYERS)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"model.weights = {tmp_path / 'a.pth'}")
    assert not (tmp_path / "hacked").exists()


def test_a_damaged_safetensors_file_an_unknown_ending_and_no_file(tmp_path: Path) -> None:
    weight_files.write(tmp_path / "a.safetensors", width=WIDTH, layers=LAYERS)
    os.truncate(tmp_path / "a.safetensors", 5000)
    with pytest.raises(UserError, match="cannot be read as a state dict"):
        read_resnet(tmp_path / "a.safetensors", WIDTH, LAYERS)
    with pytest.raises(UserError, match=r"ends in \.pth, \.pt, \.safetensors"):
        read_resnet(tmp_path / "a.bin", WIDTH, LAYERS)
    with pytest.raises(UserError, match=r"b\.pth does not exist: give a state dict"):
        read_resnet(tmp_path / "b.pth", WIDTH, LAYERS)
