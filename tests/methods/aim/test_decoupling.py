"""The parameter decoupling against identities 3, 4, 5 and 7 of aim.md section 8."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from aim_toys import Tokens, build
from equimodal.errors import UserError
from equimodal.methods.aim import modulation
from equimodal.methods.aim.decoupling import BlockDecoupling, Decoupling, decoupled_weights
from equimodal.methods.aim.settings import PDMSettings
from equimodal.models.frozen import call_untouched


def small_block(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1)
    ).to(dtype)


def decoupling(block, seed=0, **settings):
    settings = PDMSettings(**{"latent": 24, **settings})
    part = BlockDecoupling(block, settings)
    part.reset(block, settings.mask_std, torch.Generator().manual_seed(seed))
    return part


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
    part = decoupling(block)  # fan-ins 18 and 3 under a latent of 24: exact
    hold_mask(part, 1e4)
    theta, mean, spread = part.weak(block)
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
    part = decoupling(block)
    hold_mask(part, -1e4)
    theta, mean, _ = part.weak(block)
    assert float(mean) == 0 and all(float(t.detach().abs().max()) == 0 for t in theta.values())
    gradients = torch.autograd.grad(
        loss_of(call_untouched(block, theta, x), labels, prototypes), list(decoupled_weights(block).values())
    )
    assert all(float(g.abs().max()) == 0 for g in gradients)


@pytest.mark.parametrize("reading", ["rows", "exact"])
def test_gradient_of_the_auxiliary_loss_is_the_jacobian_of_eq_13(sample, reading):
    x, labels, prototypes = sample
    block = small_block()
    part = decoupling(block, reading=reading, latent=5, mask_std=1.5)  # 5 < 18: a true bottleneck
    names = list(decoupled_weights(block))
    rho = 0.3
    theta, _, _ = part.weak(block)
    found = torch.autograd.grad(
        rho * loss_of(call_untouched(block, theta, x), labels, prototypes),
        [block.get_parameter(name) for name in names],
    )

    def weak_of(name):
        one = dict(zip(part.names, part.parts, strict=True))[name]

        def apply(weight):  # Eq. 7 written out
            rows = weight.reshape(1, -1) if reading == "exact" else weight.reshape(len(weight), -1)
            lat = rows @ one.encode.detach().T + one.encode_bias.detach()
            w = torch.sigmoid(lat @ one.mask.detach().T + one.mask_bias.detach())
            return ((lat * w) @ one.decode.detach().T + one.decode_bias.detach()).reshape(weight.shape)

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
    part = decoupling(block)
    before = {name: buffer.clone() for name, buffer in block.named_buffers()}
    theta, _, _ = part.weak(block)
    assert {name: t.shape for name, t in theta.items()} == {
        name: w.shape for name, w in decoupled_weights(block).items()
    }
    call_untouched(block, theta, x)
    assert all(torch.equal(buffer, before[name]) for name, buffer in block.named_buffers())


def test_a_fresh_pdm_reconstructs_exactly_below_the_latent_width_and_spreads_w():
    block = small_block()
    part = decoupling(block, mask_std=2.0)
    _, error = part.good(block, relative=True, detach=True)
    assert float(error.detach()) < 1e-20
    _, mean, spread = part.weak(block)
    assert 0.3 < float(mean) < 0.7 and 0.2 < float(spread) < 0.45
    flat = decoupling(block, mask_std=0.0)
    _, mean, spread = flat.weak(block)
    assert (float(mean), float(spread)) == (0.5, 0)


def test_a_fresh_auxiliary_at_w_one_half_equals_the_original_before_batch_normalisation(sample):
    """The scale invariance that aim.md section 4 warns about."""
    x = sample[0]
    block = nn.Sequential(small_block()[0], nn.BatchNorm2d(3).double())
    part = decoupling(block, mask_std=0.0)
    torch.testing.assert_close(call_untouched(block, part.weak(block)[0], x), block(x), rtol=0, atol=1e-3)


def test_the_encoders_rows_are_orthonormal_when_the_latent_is_narrower():
    part = decoupling(small_block(), latent=5)
    torch.testing.assert_close(part.parts[0].encode @ part.parts[0].encode.T, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(part.parts[0].decode, part.parts[0].encode.T)


def test_eq_8_trains_the_pdm_only(sample):
    x = sample[0]
    block = small_block()
    part = decoupling(block, latent=5)
    theta, error = part.good(block, relative=True, detach=True)
    (call_untouched(block, theta, x).sum() + error).backward(inputs=list(part.parameters()))
    assert all(parameter.grad is None for parameter in block.parameters())
    assert all(one.encode.grad is not None and float(one.encode.grad.abs().max()) > 0 for one in part.parts)
    raw = part.good(block, relative=False, detach=True)[1]
    size = sum(float(w.detach().square().sum()) for w in decoupled_weights(block).values())
    assert float(raw.detach()) == pytest.approx(float(error.detach()) * size, rel=1e-9)


def test_the_weak_part_leaves_the_pdms_weights_out_of_the_graph(sample):
    block = small_block()
    part = decoupling(block)
    loss = call_untouched(block, part.weak(block)[0], sample[0]).square().sum()
    assert all(g is None for g in torch.autograd.grad(loss, list(part.parameters()), allow_unused=True))


def test_convolutions_and_linear_maps_are_decoupled_and_nothing_else():
    names = list(decoupled_weights(build().encoders["audio"].blocks[1]))
    assert names == ["0.conv1.weight", "0.conv2.weight", "0.downsample.0.weight"]
    names = list(decoupled_weights(Tokens().blocks[1]))
    assert names == ["self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight"]
    with pytest.raises(UserError, match="no convolution or linear weight"):
        decoupled_weights(nn.ReLU())


def test_the_exact_reading_has_a_budget():
    blocks = {"m": [small_block()]}
    with pytest.raises(UserError, match=r"pdm\.max_weights allows 1,000"):
        Decoupling(blocks, PDMSettings(reading="exact", latent=8, max_weights=1000))
    Decoupling(blocks, PDMSettings(reading="exact", latent=8))


def test_nothing_is_drawn_from_the_global_generator():
    block = small_block()
    state = torch.get_rng_state()
    decoupling(block)
    assert torch.equal(torch.get_rng_state(), state)
