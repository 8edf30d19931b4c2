"""What is done to inputs, and what is kept of them for it."""

import pytest
import torch

from equimodal.diagnosis import seen as module
from equimodal.diagnosis.changes import averaged, noisy, zeroed
from equimodal.diagnosis.inputs import Part
from equimodal.diagnosis.seen import Seen, cycle
from equimodal.models.padded import Padded


def parts(samples: int, size: int) -> list[Part]:
    """Batches in which sample i is (i, 10 i), and its mask i % 2."""
    i = torch.arange(samples, dtype=torch.float32)
    x, mask = torch.stack([i, 10 * i], 1), (i % 2).long()
    return [{"x": x[start : start + size], "x_mask": mask[start : start + size]} for start in range(0, samples, size)]


def shown(batches: list[Part], seed: int = 0, name: str = "a") -> Seen:
    found = Seen(name, seed)
    for part in batches:
        found.add(part)
    return found


def test_zeros_and_means_leave_masks_alone() -> None:
    batches = parts(10, 4)
    part, found = batches[1], shown(batches)
    assert not zeroed(part)["x"].any()
    assert torch.equal(zeroed(part)["x_mask"], part["x_mask"])
    mean = averaged(part, found.means)
    assert torch.equal(mean["x"], torch.tensor([[4.5, 45.0]] * 4))
    assert torch.equal(mean["x_mask"], part["x_mask"])
    padded = {"p": Padded(torch.ones(2, 3, 1), torch.tensor([[True, False, False], [True, True, True]]))}
    assert not zeroed(padded)["p"].values.any()
    assert torch.equal(zeroed(padded)["p"].mask, padded["p"].mask)


def test_noise_has_the_spread_of_the_input() -> None:
    x = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)) * 2 + torch.tensor([0.0, 50.0, -7.0])
    found = shown([{"x": x}])
    assert found.deviations[0] == pytest.approx(float(x.double().sub(x.double().mean(0)).square().mean().sqrt()))
    noise = noisy({"x": x}, 0.5, found.deviations, torch.Generator().manual_seed(1))["x"] - x
    assert float(noise.std()) == pytest.approx(1.0, rel=0.05)
    assert abs(float(noise.mean())) < 0.05


def test_a_permutation_runs_over_the_whole_loader_and_takes_the_mask_along() -> None:
    batches = parts(100, 30)
    found = shown(batches)
    swapped = [found.swapped(part, 30 * i) for i, part in enumerate(batches)]
    rows = torch.cat([part["x"] for part in swapped])
    assert torch.equal(rows[:, 0].sort().values, torch.arange(100.0))
    assert torch.equal(rows[:, 1], 10 * rows[:, 0])
    assert torch.equal(torch.cat([part["x_mask"] for part in swapped]), rows[:, 0].long() % 2)
    assert bool((rows[:, 0] != torch.arange(100)).all()), "nothing stays in its place"
    assert (rows[:30, 0] >= 30).sum() > 10, "within a batch, a loader sorted by class would hide everything"
    assert not torch.equal(
        rows, torch.cat([shown(batches, name="b").swapped(p, 30 * i)["x"] for i, p in enumerate(batches)])
    ), "each modality has its own"


def test_of_large_loaders_an_even_draw_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 64)
    found = shown(parts(1000, 90))
    rows = found.swapped(parts(1000, 1000)[0], 0)["x"][:, 0]
    assert len(rows) == 1000
    assert len(rows.unique()) == 64
    assert float(rows.unique().mean()) == pytest.approx(499.5, abs=120)
    counts = rows.long().bincount()
    assert int(counts[counts > 0].min()) >= 1000 // 64


def test_donors_are_the_same_samples_in_every_modality() -> None:
    batches = parts(50, 20)
    one, other = shown(batches), shown([{"y": part["x"][:, :1] + 0.5} for part in batches], name="b")
    assert torch.equal(one.donors(5), other.donors(5))
    for donor, place in enumerate(one.donors(5).tolist()):
        assert torch.equal(one.donated(batches[0], donor)["x"], torch.tensor([[place, 10.0 * place]] * 20))
        assert torch.equal(other.donated({"y": torch.zeros(3, 1)}, donor)["y"], torch.full((3, 1), place + 0.5))


def test_samples_of_several_shapes_are_permuted_within_the_batch() -> None:
    batches = [{"x": torch.arange(5.0).view(5, 1)}, {"x": torch.arange(10.0).view(5, 2)}]
    found = shown(batches)
    assert not found.has_mean
    assert not found.has_donors
    swapped = found.swapped(batches[1], 5)["x"]
    assert torch.equal(swapped[:, 0].sort().values, batches[1]["x"][:, 0])
    assert bool((swapped[:, 0] != batches[1]["x"][:, 0]).all())
    assert found.has_partners
    assert not shown([{"x": torch.zeros(1, 1)}, {"x": torch.zeros(1, 2)}]).has_partners


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_cycle_comes_back_after_all(count: int) -> None:
    order = cycle(count, torch.Generator().manual_seed(0))
    place, seen = 0, []
    for _ in range(count):
        seen.append(place)
        place = int(order[place])
    assert place == 0
    assert sorted(seen) == list(range(count))


def test_ids_have_no_mean_and_what_never_changes_is_seen() -> None:
    assert not shown([{"ids": torch.tensor([[1, 2], [3, 4]])}]).has_mean
    assert shown(parts(6, 3)).has_mean
    assert shown(parts(6, 3)).varies
    assert not shown([{"x": torch.ones(3, 2)}, {"x": torch.ones(2, 2)}]).varies
