"""The parameter decoupling against identities 3, 4, 5 and 7 of aim.md section 8."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from aim_toys import Tokens, build
from equimodal.errors import UserError
from equimodal.methods.aim import modulation
from equimodal.methods.aim.decoupling import Decoupling, DepthDecoupling, decoupled_weights
from equimodal.methods.aim.settings import PDMSettings
from equimodal.models.frozen import call_untouched


def small_block(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1)
    ).to(dtype)


class One:
    """The decoupling of one block alone."""

    def __init__(self, block, seed=0, **settings):
        self.block, self.settings = {"m": block}, PDMSettings(**{"latent": 24, **settings})
        self.depth = DepthDecoupling(self.block, self.settings)
        self.depth.reset(self.block, self.settings.mask_std, torch.Generator().manual_seed(seed))
        self.parts = list(self.depth.parts)

    def parameters(self):
        return list(self.depth.parameters())

    def weak(self):
        found = self.depth.weak(self.block)
        return found.theta["m"], found.mean["m"], found.spread["m"]

    def good(self, relative=False, detach=True):
        found = self.depth.good(self.block, detach)
        return found.theta["m"], (found.relative if relative else found.error)["m"]


def hold_mask(part, logit):
    """w constant: sigmoid saturates at 0 and 1 exactly."""
    with torch.no_grad():
        for one in part.parts:
            one.mask.zero_()
            one.mask_bias.fill_(logit)


def loss_of(output, labels, prototypes):
    return modulation.score(modulation.log_probabilities(output.mean((2, 3)), prototypes), labels).loss


@pytest.fixture
def sample():
    torch.manual_seed(1)
    return (
        torch.randn(6, 2, 5, 5, dtype=torch.float64),
        torch.tensor([0, 1, 2, 0, 1, 2]),
        torch.randn(3, 2, dtype=torch.float64),
    )


def test_with_w_one_and_an_exact_autoencoder_the_auxiliary_is_the_original(sample):
    x, labels, prototypes = sample
    block = small_block()
    part = One(block)  # fan-ins 18 and 3 under a latent of 24: exact
    hold_mask(part, 1e4)
    theta, mean, spread = part.weak()
    assert (float(mean), float(spread)) == (1, 0)
    for name, weight in decoupled_weights(block).items():
        torch.testing.assert_close(theta[name], weight, rtol=0, atol=1e-12)
    original, weak = loss_of(block(x), labels, prototypes), loss_of(call_untouched(block, theta, x), labels, prototypes)
    torch.testing.assert_close(weak, original, rtol=0, atol=1e-12)
    weights = list(decoupled_weights(block).values())
    for a, b in zip(torch.autograd.grad(weak, weights), torch.autograd.grad(original, weights), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_with_w_zero_the_auxiliary_does_not_depend_on_theta(sample):
    x, labels, prototypes = sample
    block = small_block()
    part = One(block)
    hold_mask(part, -1e4)
    theta, mean, _ = part.weak()
    assert float(mean) == 0 and all(float(t.detach().abs().max()) == 0 for t in theta.values())
    gradients = torch.autograd.grad(
        loss_of(call_untouched(block, theta, x), labels, prototypes), list(decoupled_weights(block).values())
    )
    assert all(float(g.abs().max()) == 0 for g in gradients)


@pytest.mark.parametrize("reading", ["rows", "exact"])
def test_gradient_of_the_auxiliary_loss_is_the_jacobian_of_eq_13(sample, reading):
    x, labels, prototypes = sample
    block = small_block()
    part = One(block, reading=reading, latent=5, mask_std=1.5)  # 5 < 18: a true bottleneck
    names = list(decoupled_weights(block))
    rho = 0.3
    theta, _, _ = part.weak()
    found = torch.autograd.grad(
        rho * loss_of(call_untouched(block, theta, x), labels, prototypes),
        [block.get_parameter(name) for name in names],
    )

    def weak_of(name):
        number = next(i for i, places in enumerate(part.depth.places) if ("m", name) in places)
        one, at = part.parts[number], part.depth.places[number].index(("m", name))
        weights = {key: value.detach()[at] for key, value in one.named_parameters()}

        def apply(weight):  # Eq. 7 written out
            rows = weight.reshape(1, -1) if reading == "exact" else weight.reshape(len(weight), -1)
            lat = rows @ weights["encode"] + weights["encode_bias"]
            w = torch.sigmoid(lat @ weights["mask"] + weights["mask_bias"])
            return ((lat * w) @ weights["decode"] + weights["decode_bias"]).reshape(weight.shape)

        return apply

    leaves = {name: t.detach().requires_grad_() for name, t in theta.items()}
    g = torch.autograd.grad(
        rho * loss_of(functional_call(block, leaves, (x,)), labels, prototypes), list(leaves.values())
    )
    for name, gradient, autograd in zip(names, g, found, strict=True):
        jacobian = jacrev(weak_of(name))(block.get_parameter(name).detach())  # [theta_b..., theta...]
        expected = torch.tensordot(gradient, jacobian, dims=gradient.dim())
        torch.testing.assert_close(autograd, expected, rtol=0, atol=1e-6)
        assert float(expected.abs().max()) > 1e-6


def test_theta_b_has_thetas_shapes_and_the_block_keeps_its_buffers(sample):
    x = sample[0]
    block = small_block().train()
    part = One(block)
    before = {name: buffer.clone() for name, buffer in block.named_buffers()}
    theta, _, _ = part.weak()
    assert {name: t.shape for name, t in theta.items()} == {
        name: w.shape for name, w in decoupled_weights(block).items()
    }
    call_untouched(block, theta, x)
    assert all(torch.equal(buffer, before[name]) for name, buffer in block.named_buffers())


def test_a_fresh_pdm_reconstructs_exactly_below_the_latent_width_and_spreads_w():
    block = small_block()
    part = One(block, mask_std=2.0)
    _, error = part.good(relative=True, detach=True)
    assert float(error.detach()) < 1e-20
    _, mean, spread = part.weak()
    assert 0.3 < float(mean) < 0.7 and 0.2 < float(spread) < 0.45
    flat = One(block, mask_std=0.0)
    _, mean, spread = flat.weak()
    assert (float(mean), float(spread)) == (0.5, 0)


def test_a_fresh_auxiliary_at_w_one_half_equals_the_original_before_batch_normalisation(sample):
    """The scale invariance that aim.md section 4 warns about."""
    x = sample[0]
    block = nn.Sequential(small_block()[0], nn.BatchNorm2d(3).double())
    part = One(block, mask_std=0.0)
    torch.testing.assert_close(call_untouched(block, part.weak()[0], x), block(x), rtol=0, atol=1e-3)


def test_a_narrow_latent_restores_as_well_as_the_rows_singular_vectors_can():
    block = nn.Sequential(nn.Conv2d(2, 9, 3, bias=False)).double()
    part = One(block, latent=5)
    encode = part.parts[0].encode[0].detach()
    torch.testing.assert_close(encode.T @ encode, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(part.parts[0].decode[0].detach(), encode.T)
    lost = torch.linalg.svdvals(block[0].weight.detach().flatten(1))[5:].square().sum()
    torch.testing.assert_close(part.good()[1].detach(), lost)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_at_real_width_the_start_is_exact(memory_format):
    """The last stage of a ResNet18: fan-in 4,608 over a latent of 512, which rows of 512 outputs fill."""
    block = nn.Conv2d(512, 512, 3, padding=1, bias=False).to(memory_format=memory_format)
    part = One(block, latent=512)
    _, error = part.good(relative=True)
    assert float(error.detach()) < 1e-10
    hold_mask(part, 1e4)
    weak = part.weak()[0]["weight"]
    assert weak.stride() == block.weight.stride()
    torch.testing.assert_close(weak, block.weight, rtol=1e-4, atol=1e-5)


def test_a_latent_wider_than_the_rows_is_no_wider_than_they_are():
    assert [tuple(one.mask.shape) for one in One(small_block(), latent=512).parts] == [(1, 18, 18), (1, 3, 3)]


def test_weights_of_one_shape_are_decoupled_each_by_its_own_part():
    blocks = {"a": small_block(), "b": small_block()}
    with torch.no_grad():
        blocks["b"][0].weight.mul_(-3)
    settings = PDMSettings(latent=24)
    depth = DepthDecoupling(blocks, settings)
    depth.reset(blocks, settings.mask_std, torch.Generator().manual_seed(0))
    assert [len(places) for places in depth.places] == [2, 2]
    found = depth.weak(blocks)
    for name in ("a", "b"):
        alone = One(blocks[name])
        for key, value in alone.weak()[0].items():
            torch.testing.assert_close(found.theta[name][key], value)
        torch.testing.assert_close(found.mean[name], alone.weak()[1])
        masks = torch.cat([part.latent(part_rows, True)[1].flatten() for part, part_rows in rows_of(alone)])
        torch.testing.assert_close(found.spread[name], masks.std(unbiased=False))


def rows_of(one):
    return [
        (part, one.depth.stacked(one.block, places)) for places, part in zip(one.depth.places, one.parts, strict=True)
    ]


def test_the_decoupling_is_no_part_of_a_state():
    depth = One(small_block()).depth
    assert not depth.state_dict()
    depth.load_state_dict({})


def test_eq_8_trains_the_pdm_only(sample):
    x = sample[0]
    block = small_block()
    part = One(block, latent=5)
    theta, error = part.good(relative=True, detach=True)
    (call_untouched(block, theta, x).sum() + error).backward(inputs=list(part.parameters()))
    assert all(parameter.grad is None for parameter in block.parameters())
    assert all(one.encode.grad is not None and float(one.encode.grad.abs().max()) > 0 for one in part.parts)
    raw = part.good(relative=False, detach=True)[1]
    size = sum(float(w.detach().square().sum()) for w in decoupled_weights(block).values())
    assert float(raw.detach()) == pytest.approx(float(error.detach()) * size, rel=1e-9)


def test_the_weak_part_leaves_the_pdms_weights_out_of_the_graph(sample):
    block = small_block()
    part = One(block)
    loss = call_untouched(block, part.weak()[0], sample[0]).square().sum()
    assert all(g is None for g in torch.autograd.grad(loss, list(part.parameters()), allow_unused=True))


def test_convolutions_and_linear_maps_are_decoupled_and_nothing_else():
    names = list(decoupled_weights(build().encoders["audio"].blocks[1]))
    assert names == ["0.conv1.weight", "0.conv2.weight", "0.downsample.0.weight"]
    names = list(decoupled_weights(Tokens().blocks[1]))
    assert names == ["self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight"]
    with pytest.raises(UserError, match="no convolution or linear weight"):
        decoupled_weights(nn.ReLU())


def test_the_exact_reading_has_a_budget():
    blocks = [{"m": small_block()}]
    with pytest.raises(UserError, match=r"pdm\.max_weights allows 1,000"):
        Decoupling(blocks, PDMSettings(reading="exact", latent=8, max_weights=1000))
    Decoupling(blocks, PDMSettings(reading="exact", latent=8))


def test_nothing_is_drawn_from_the_global_generator():
    block = small_block()
    state = torch.get_rng_state()
    One(block)
    assert torch.equal(torch.get_rng_state(), state)
