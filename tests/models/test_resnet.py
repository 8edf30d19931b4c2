"""ResNet18 as torchvision has it, with its blocks exposed."""

import copy

import pytest
import torch
from torch import Tensor, nn

from equimodal.models.initialisation import initialise
from equimodal.models.resnet import ResNet


def torchvision_shapes(channels: int = 3) -> dict[str, tuple[int, ...]]:
    """Parameters and buffers of torchvision.models.resnet18 without `fc`, written from its documentation."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, channels, 7, 7)}

    def norm(name: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (width,)
        shapes[f"{name}.num_batches_tracked"] = ()

    norm("bn1", 64)
    before = 64
    for layer, width in enumerate((64, 128, 256, 512), start=1):
        for block in (0, 1):
            name = f"layer{layer}.{block}"
            shapes[f"{name}.conv1.weight"] = (width, before, 3, 3)
            norm(f"{name}.bn1", width)
            shapes[f"{name}.conv2.weight"] = (width, width, 3, 3)
            norm(f"{name}.bn2", width)
            if block == 0 and layer > 1:
                shapes[f"{name}.downsample.0.weight"] = (width, before, 1, 1)
                norm(f"{name}.downsample.1", width)
            before = width
    return shapes


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_names_and_shapes_are_torchvisions(channels: int) -> None:
    state = ResNet(channels).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == torchvision_shapes(channels)


def test_resnet18_has_its_parameter_count() -> None:
    assert sum(p.numel() for p in ResNet(3).parameters()) == 11_176_512


def test_torchvisions_forward_pass_is_reproduced() -> None:
    """The network written out plainly from the state dict, as the paper describes it."""
    torch.manual_seed(0)
    model = ResNet(3, width=4).double().eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
    state = model.state_dict()
    f = nn.functional

    def conv(x: Tensor, name: str, stride: int, padding: int) -> Tensor:
        return f.conv2d(x, state[f"{name}.weight"], None, stride, padding)

    def norm(x: Tensor, name: str) -> Tensor:
        s = {
            part: state[f"{name}.{part}"].view(1, -1, 1, 1)
            for part in ("weight", "bias", "running_mean", "running_var")
        }
        return (x - s["running_mean"]) / (s["running_var"] + 1e-5).sqrt() * s["weight"] + s["bias"]

    x = torch.randn(2, 3, 40, 36, dtype=torch.float64)
    y = f.max_pool2d(norm(conv(x, "conv1", 2, 3), "bn1").relu(), 3, 2, 1)
    for layer in range(1, 5):
        for block in (0, 1):
            name = f"layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            shortcut = norm(conv(y, f"{name}.downsample.0", stride, 0), f"{name}.downsample.1") if stride == 2 else y
            z = norm(conv(y, f"{name}.conv1", stride, 1), f"{name}.bn1").relu()
            y = (norm(conv(z, f"{name}.conv2", 1, 1), f"{name}.bn2") + shortcut).relu()
    torch.testing.assert_close(model(x), y.mean((2, 3)), rtol=1e-12, atol=1e-12)


def assert_blocks_are_the_named_modules(model: ResNet) -> None:
    stem, *rest = model.blocks
    assert len(model.blocks) == 4
    assert list(stem.children()) == [model.conv1, model.bn1, model.relu, model.maxpool, model.layer1]
    assert all(block is getattr(model, f"layer{i}") for i, block in enumerate(rest, start=2))
    owned = {id(p) for p in model.parameters()}
    assert {id(p) for block in model.blocks for p in block.parameters()} == owned


def test_blocks_share_the_named_parameters() -> None:
    model = ResNet(1, width=4, layers=(1, 1, 1, 1))
    assert_blocks_are_the_named_modules(model)
    copied = copy.deepcopy(model)
    assert_blocks_are_the_named_modules(copied)
    assert not {id(p) for p in copied.parameters()} & {id(p) for p in model.parameters()}
    for moved in (copied.double(), copied.to("meta")):
        assert_blocks_are_the_named_modules(moved)
        assert {p.dtype for block in moved.blocks for p in block.parameters()} == {torch.float64}
    copied.train(False)
    assert not any(part.training for block in copied.blocks for part in block.modules())
    copied.train()
    assert all(part.training for block in copied.blocks for part in block.modules())


@pytest.mark.parametrize("frames", ["fold", "stack"])
def test_feature_is_the_mean_of_the_last_maps(frames: str) -> None:
    torch.manual_seed(0)
    model = ResNet(3, n_frames=5, width=4, layers=(1, 1, 1, 1), frames=frames).eval()  # type: ignore[arg-type]
    x = torch.randn(2, 3, 5, 20, 24)
    maps = model.prepare(x)
    assert maps.shape == ((10, 3, 20, 24) if frames == "fold" else (2, 15, 20, 24))
    for depth, block in enumerate(model.blocks):
        maps = block(maps)
        pooled = model.pool(maps, 2)
        by_hand = torch.stack([part.mean((0, 2, 3)) for part in maps.chunk(2)])  # a sample's frames lie together
        torch.testing.assert_close(pooled, by_hand)
        assert pooled.shape == (2, model.dims[depth])
    assert torch.equal(model(x), pooled)


def test_folded_frames_are_averaged_and_stacked_ones_are_channels() -> None:
    torch.manual_seed(0)
    folded = ResNet(3, n_frames=4, width=4, layers=(1, 1, 1, 1), frames="fold").eval()
    x = torch.randn(2, 3, 4, 16, 16)
    torch.testing.assert_close(folded(x), torch.stack([folded(x[:, :, t]) for t in range(4)]).mean(0))
    torch.testing.assert_close(folded(x), folded(x.flip(2)))  # the order of frames says nothing
    stacked = ResNet(3, n_frames=4, width=4, layers=(1, 1, 1, 1), frames="stack").eval()
    assert stacked.conv1.weight.shape == (4, 12, 7, 7)
    assert not torch.allclose(stacked(x), stacked(x.flip(2)))


@pytest.mark.parametrize(("stride", "pool", "side"), [(2, True, 8), (2, False, 16), (1, True, 16), (1, False, 32)])
def test_the_stem_has_the_stride_it_is_given(stride: int, pool: bool, side: int) -> None:
    model = ResNet(1, width=4, layers=(1, 1, 1, 1), stem_stride=stride, stem_pool=pool)
    maps = model.blocks[0](model.prepare(torch.zeros(2, 1, 32, 32)))
    assert maps.shape == (2, 4, side, side)


def test_memory_format_is_kept_through_the_blocks() -> None:
    for channels_last in (True, False):
        model = ResNet(3, n_frames=2, width=8, layers=(1, 1, 1, 1), channels_last=channels_last)
        maps = model.prepare(torch.randn(2, 3, 2, 32, 32))
        for block in model.blocks:
            maps = block(maps)
            assert maps.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def test_maps_narrower_than_a_vector_register_are_contiguous() -> None:
    # Channels last, their strided 1x1 convolutions corrupt the heap on AVX2 processors: "double free", sooner or later.
    for width in (4, 5, 6, 7):
        model = ResNet(1, width=width, layers=(1, 1, 1, 1), stem_stride=1, stem_pool=False)
        for _ in range(5):
            model(torch.randn(4, 1, 16, 16)).sum().backward()
        assert model.memory_format == torch.contiguous_format


def test_initialisation_is_that_of_the_ogm_family() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(ResNet(3), nn.Linear(512, 101))
    for part in model.modules():  # far from where it ends
        for parameter in part.parameters(recurse=False):
            nn.init.constant_(parameter, 9.0)
    initialise(model)
    linear = model[1]
    assert linear.weight.std().item() == pytest.approx((2 / (512 + 101)) ** 0.5, rel=0.02)  # xavier normal
    assert linear.bias.abs().max() == 0
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            fan_out = part.out_channels * part.kernel_size[0] * part.kernel_size[1]
            assert part.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)  # kaiming normal, fan out
        if isinstance(part, nn.BatchNorm2d):
            assert (part.weight == 1).all() and (part.bias == 0).all()
