"""Stored arrays become model inputs: exactly in evaluation, by their own generator in training."""

from typing import Any

import pytest
import torch
from torch import Tensor

from equimodal.settings.training import AugmentSettings
from equimodal.training.transforms import IMAGENET_MEAN, IMAGENET_STD, InputTransform

CPU = torch.device("cpu")
NO_CROP = AugmentSettings(crop=False, flip=False)


def pictures(kind: str = "frames", channels: int = 3, margin: int = 4) -> InputTransform:
    notes = {"zero": 128} if kind == "flow" else {}
    entry = {
        "kind": kind,
        "notes": notes,
        "settings": {"size": [8, 12]},
        "shape": [channels, 2, 8 + margin, 12 + margin],
        "mean": [51.0] * channels,
        "std": [25.5] * channels,
    }
    return InputTransform(entry, CPU)


def spectrogram(**settings: Any) -> InputTransform:
    return InputTransform(
        {"kind": "spectrogram", "settings": settings, "shape": [1, 6, 10], "mean": [-4.0], "std": [2.0]}, CPU
    )


def stored(transform: InputTransform, batch: int = 6, margin: int = 4) -> Tensor:
    channels, frames, height, width = transform.shape
    return torch.randint(
        0,
        256,
        (batch, channels, frames, height + margin, width + margin),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(0),
    )


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flips(batch: int, *mirrored: int) -> Tensor:
    return torch.tensor([i in mirrored for i in range(batch)])


def raw_values(transform: InputTransform, x: Tensor) -> Tensor:
    return x / transform.scale + transform.mean


def test_evaluation_takes_the_central_crop_and_imagenets_statistics() -> None:
    t = pictures()
    x = stored(t)
    expected = (x[..., 2:10, 2:14] / 255 - torch.tensor(IMAGENET_MEAN).view(3, 1, 1, 1)) / torch.tensor(
        IMAGENET_STD
    ).view(3, 1, 1, 1)
    torch.testing.assert_close(t.evaluate(x), expected)
    assert t.evaluate(x).shape[1:] == t.shape == (3, 2, 8, 12)
    assert torch.equal(t.evaluate(x), t.evaluate(x))


@pytest.mark.parametrize(("kind", "channels"), [("frames", 1), ("flow", 2), ("flow", 3)])
def test_grey_and_flow_are_standardised_by_the_training_split(kind: str, channels: int) -> None:
    t = pictures(kind, channels)
    x = stored(t)
    torch.testing.assert_close(t.evaluate(x), (x[..., 2:10, 2:14].float() - 51) / 25.5)


def test_spectrograms_are_standardised_where_they_say_so() -> None:
    x = torch.randn(3, 1, 6, 10)
    torch.testing.assert_close(spectrogram(standardize=True).evaluate(x), (x + 4) / 2)
    torch.testing.assert_close(spectrogram(standardize=False).evaluate(x), x)
    assert spectrogram(standardize=True).evaluate(x.half()).dtype == torch.float32
    # SpecAugment is off by default
    assert torch.equal(spectrogram(standardize=True).augment(x, flips(3), draw(), AugmentSettings()), (x + 4) / 2)


def test_nothing_switched_on_is_evaluation() -> None:
    t = pictures()
    x = stored(t)
    assert torch.equal(t.augment(x, flips(6, 0, 3), draw(), NO_CROP), t.evaluate(x))


@pytest.mark.parametrize(
    "settings", [AugmentSettings(), AugmentSettings(per_frame=True), AugmentSettings(spec_time=5, spec_freq=3)], ids=str
)
def test_the_generator_decides_everything(settings: AugmentSettings) -> None:
    for t, x in ((pictures(), stored(pictures())), (spectrogram(), torch.randn(6, 1, 6, 10, generator=draw()))):
        state = torch.get_rng_state()
        first, again, other = (t.augment(x, flips(6, 1), draw(seed), settings) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert torch.equal(torch.get_rng_state(), state)  # the global generator is left alone
        if t.pictures or settings.spec_time:
            assert not torch.equal(first, other)


@pytest.mark.parametrize("margin", [3, 4])
def test_a_flip_without_crop_is_exact(margin: int) -> None:
    t = pictures(margin=margin)
    x = stored(t, margin=margin)
    out, plain = t.augment(x, flips(6, 0, 3), draw(), AugmentSettings(crop=False)), t.evaluate(x)
    for i in range(6):
        assert torch.equal(out[i], plain[i].flip(-1) if i in (0, 3) else plain[i])


def test_a_crop_of_everything_is_a_resize() -> None:
    t = pictures()
    x = torch.full((4, 3, 2, 12, 16), 200, dtype=torch.uint8)
    x[..., :8] = 100  # a vertical edge in the middle stays in the middle
    whole = AugmentSettings(crop_scale=(1.0, 1.0), flip=False)
    boxes = raw_values(t, t.augment(x, flips(4), draw(), whole))
    assert boxes.min() >= 99.9 and boxes.max() <= 200.1
    assert (boxes[..., 0] < 101).all() and (boxes[..., -1] > 199).all()


def test_crops_have_the_drawn_share_of_the_area() -> None:
    """A picture whose value is its own coordinate shows where the box lies."""
    t = pictures(margin=52)
    column = torch.linspace(0, 255, 64).round().to(torch.uint8).expand(400, 3, 2, 60, 64).contiguous()
    row = torch.linspace(0, 255, 60).round().to(torch.uint8).view(60, 1).expand(400, 3, 2, 60, 64).contiguous()
    settings = AugmentSettings(crop_scale=(0.25, 0.5), flip=False)
    across, down = (raw_values(t, t.augment(x, flips(400), draw(), settings)) for x in (column, row))
    width = (across[..., -1] - across[..., 0])[:, 0, 0, 0] / 255 * 12 / 11
    height = (down[..., -1, :] - down[..., 0, :])[:, 0, 0, 0] / 255 * 8 / 7
    area = width * height
    assert area.min() > 0.22 and area.max() < 0.55 and area.std() > 0.05
    ratio = width / height
    assert ratio.min() > 0.70 and ratio.max() < 1.43 and ratio.std() > 0.1
    # all of the picture is reached
    assert across.min() < 8 and across.max() > 247 and down.min() < 8 and down.max() > 247


def test_frames_share_a_box_unless_drawn_for_each() -> None:
    t = pictures()
    x = stored(t)[:, :, :1].expand(-1, -1, 2, -1, -1)  # two equal frames
    shared = t.augment(x, flips(6), draw(), AugmentSettings())
    assert torch.equal(shared[:, :, 0], shared[:, :, 1]) and not torch.equal(shared[0], shared[1])
    apart = t.augment(x, flips(6, *range(6)), draw(), AugmentSettings(per_frame=True))
    assert not torch.equal(apart[:, :, 0], apart[:, :, 1])


def test_channels_are_cropped_alike() -> None:
    t = pictures()
    x = stored(t)[:, :1].expand(-1, 3, -1, -1, -1)
    for settings in (AugmentSettings(), AugmentSettings(per_frame=True)):
        out = raw_values(t, t.augment(x, flips(6, 2), draw(), settings))
        torch.testing.assert_close(out[:, 0], out[:, 1], atol=1e-3, rtol=0)
        torch.testing.assert_close(out[:, 0], out[:, 2], atol=1e-3, rtol=0)


@pytest.mark.parametrize("channels", [2, 3])
def test_mirrored_flow_turns_its_horizontal_part(channels: int) -> None:
    t = pictures("flow", channels)
    x = stored(t)
    out, plain = t.augment(x, flips(6, 1), draw(), AugmentSettings(crop=False)), t.evaluate(x)
    values, before = raw_values(t, out), raw_values(t, plain)
    assert torch.equal(out[0], plain[0])
    # u: negated around 128, no motion
    torch.testing.assert_close(values[1, 0], 256 - before[1, 0].flip(-1), atol=1e-3, rtol=0)
    torch.testing.assert_close(values[1, 1], before[1, 1].flip(-1), atol=1e-3, rtol=0)  # v: only moved
    if channels == 3:
        torch.testing.assert_close(values[1, 2], 256 - before[1, 2].flip(-1), atol=1e-3, rtol=0)


def test_specaugment_masks_one_stretch_up_to_its_length() -> None:
    t = spectrogram(standardize=True)
    x = torch.full((300, 1, 6, 10), 5.0)
    out = t.augment(x, flips(300), draw(), AugmentSettings(spec_time=4))
    masked = out[:, 0] == 0
    assert torch.equal(masked.any(1), masked.all(1))  # whole time steps
    lengths = masked.all(1).sum(1)
    assert lengths.max() == 4 and lengths.min() == 0 and lengths.float().std() > 0.5
    for row in masked.all(1)[:50]:
        found = row.nonzero().flatten().tolist()
        assert found == list(range(found[0], found[0] + len(found))) if found else True  # one stretch
    both = t.augment(x, flips(300), draw(), AugmentSettings(spec_time=4, spec_freq=3))[:, 0] == 0
    assert (both.all(2).any(1) & both.all(1).any(1)).any() and both.all(2).sum(1).max() == 3
    assert t.augment(x, flips(300), draw(), AugmentSettings(spec_time=99))[:, 0].eq(0).all(1).sum(1).max() <= 10


def test_specaugment_puts_the_mean_into_what_is_not_standardised() -> None:
    out = spectrogram(standardize=False).augment(
        torch.full((50, 1, 6, 10), 5.0), flips(50), draw(), AugmentSettings(spec_freq=3)
    )
    assert set(out.unique().tolist()) == {5.0, -4.0}


def picking(frames: int, pick: int | None, kind: str = "frames", channels: int = 1) -> InputTransform:
    settings = {"size": [8, 12]} if pick is None else {"size": [8, 12], "pick": pick}
    notes = {"zero": 128} if kind == "flow" else {}
    entry = {
        "kind": kind,
        "notes": notes,
        "settings": settings,
        "shape": [channels, frames, 8, 12],
        "mean": [0.0] * channels,
        "std": [255.0] * channels,
    }
    return InputTransform(entry, CPU)


def numbered(frames: int, batch: int, channels: int = 1) -> Tensor:
    """Every frame's value is its number."""
    return (
        torch.arange(frames, dtype=torch.uint8)
        .view(1, 1, frames, 1, 1)
        .expand(batch, channels, frames, 8, 12)
        .contiguous()
    )


def seen(x: Tensor) -> Tensor:
    return x[:, 0, :, 0, 0].mul(255).round().long()


@pytest.mark.parametrize(
    ("frames", "pick", "middles"), [(10, 3, [1, 4, 8]), (9, 3, [1, 4, 7]), (4, 4, [0, 1, 2, 3]), (5, 1, [2])]
)
def test_picked_frames_are_the_middle_ones_in_evaluation_and_any_in_training(
    frames: int, pick: int, middles: list[int]
) -> None:
    t = picking(frames, pick)
    assert t.shape == (1, pick, 8, 12)
    assert seen(t.evaluate(numbered(frames, 2))).tolist() == [middles, middles]
    picks = torch.rand(500, pick + 1, generator=draw())
    picks[0], picks[1] = 0.0, 1.0 - 2.0**-24  # the ends of the draw
    out = seen(t.augment(numbered(frames, 500), flips(500), draw(), NO_CROP, picks))
    edges = [place * frames // pick for place in range(pick + 1)]
    for part in range(pick):
        # each frame of the part, and no other
        assert set(out[:, part].tolist()) == set(range(edges[part], edges[part + 1]))
    assert out[0].tolist() == edges[:-1] and out[1].tolist() == [edge - 1 for edge in edges[1:]]


def test_frames_and_flow_of_a_sample_are_picked_together() -> None:
    picks = torch.rand(50, 3, generator=draw())
    frames, flow = picking(10, 3), picking(10, 3, "flow", 2)
    settings = AugmentSettings(crop=False, flip=False)
    left, right = (t.augment(numbered(10, 50, t.shape[0]), flips(50), draw(), settings, picks) for t in (frames, flow))
    assert torch.equal(seen(left), seen(right)) and len(seen(left).unique(dim=0)) > 10
    assert left.shape == (50, 1, 3, 8, 12) and right.shape == (50, 2, 3, 8, 12)


@pytest.mark.parametrize("per_frame", [False, True])
def test_a_mirrored_crop_is_the_crop_mirrored(per_frame: bool) -> None:
    t = pictures()
    x = stored(t)
    before = x.clone()
    settings = AugmentSettings(per_frame=per_frame)
    some, none = (t.augment(x, flips(6, *mirrored), draw(), settings) for mirrored in ((0, 3), ()))
    for i in range(6):
        torch.testing.assert_close(some[i], none[i].flip(-1) if i in (0, 3) else none[i], atol=1e-4, rtol=0)
    assert torch.equal(x, before)  # normalising in place leaves what is stored alone


def test_what_is_stored_as_floats_is_left_alone() -> None:
    t, x = spectrogram(standardize=True), torch.randn(3, 1, 6, 10)
    before = x.clone()
    t.augment(x, flips(3), draw(), AugmentSettings(spec_time=4))
    t.evaluate(x)
    assert torch.equal(x, before)
