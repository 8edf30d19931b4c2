"""Start weights in a model: taken by name, the first convolution fitted so that activations stay what they were."""

import pytest
import torch
from torch.nn import functional

import weight_files
from equimodal.models.framework import build_model
from equimodal.models.pretrained import Pretrained, adapted_stem
from equimodal.models.resnet import ResNet
from equimodal.settings.training import ModelSettings

SHAPES = {"audio": (1, 32, 24), "visual": (3, 2, 32, 32), "motion": (2, 2, 32, 32)}


def test_resnet18_has_torchvision_s_names_and_shapes() -> None:
    ours = {name: value.shape for name, value in ResNet(3).state_dict().items()}
    theirs = {name: value.shape for name, value in weight_files.state().items() if not name.startswith("fc.")}
    assert ours == theirs


def test_encoders_of_the_named_modalities_start_from_the_file_and_nothing_else_changes() -> None:
    settings = ModelSettings(width=8, layers=(1, 1, 1, 1))
    tensors = {name: value for name, value in weight_files.state(8, (1, 1, 1, 1)).items() if not name.startswith("fc.")}
    torch.manual_seed(0)
    plain = build_model(SHAPES, 5, settings)
    torch.manual_seed(0)
    model = build_model(SHAPES, 5, settings)
    Pretrained(tensors, "digest", ("visual", "motion", "absent")).load(model)
    for name, value in model.state_dict().items():
        modality, _, key = name.removeprefix("encoders.").partition(".")
        if modality in ("visual", "motion") and name.startswith("encoders."):
            expected = tensors[key] if key != "conv1.weight" or modality == "visual" else adapted_stem(tensors[key], 2)
            assert torch.equal(value, expected), name
        else:
            assert torch.equal(value, plain.state_dict()[name]), name
    assert model.encoders["visual"].conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_counters_that_the_file_lacks_start_at_zero() -> None:
    model = build_model({"visual": (3, 2, 32, 32)}, 2, ModelSettings(width=8, layers=(1, 1, 1, 1)))
    tensors = {
        name: value
        for name, value in weight_files.state(8, (1, 1, 1, 1)).items()
        if not name.startswith("fc.") and "num_batches" not in name
    }
    Pretrained(tensors, "digest", ("visual",)).load(model)
    assert model.state_dict()["encoders.visual.bn1.num_batches_tracked"] == 0


def test_three_channels_keep_their_kernels() -> None:
    weight = torch.randn(4, 3, 7, 7)
    assert torch.equal(adapted_stem(weight, 3), weight)


def test_one_channel_sees_grey_as_rgb_saw_it() -> None:
    weight, grey = torch.randn(4, 3, 7, 7), torch.randn(2, 1, 20, 20)
    assert torch.allclose(
        functional.conv2d(grey, adapted_stem(weight, 1)),
        functional.conv2d(grey.expand(-1, 3, -1, -1), weight),
        atol=1e-4,
    )


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_activations_keep_their_size_whatever_the_number_of_channels(channels: int) -> None:
    weight, one = torch.randn(4, 3, 7, 7), torch.randn(2, 1, 20, 20)
    same = functional.conv2d(one.expand(-1, channels, -1, -1), adapted_stem(weight, channels))
    assert torch.allclose(same, functional.conv2d(one.expand(-1, 3, -1, -1), weight), atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_still_clip_stacked_as_channels_gives_what_one_frame_gives(channels: int) -> None:
    weight, frame = torch.randn(4, 3, 7, 7), torch.randn(2, channels, 1, 20, 20)
    clip = ResNet(channels, n_frames=4, width=4, frames="stack").prepare(frame.expand(-1, -1, 4, -1, -1))
    stacked = functional.conv2d(clip, adapted_stem(weight, channels, 4))
    assert torch.allclose(stacked, functional.conv2d(frame[:, :, 0], adapted_stem(weight, channels)), atol=1e-4)
