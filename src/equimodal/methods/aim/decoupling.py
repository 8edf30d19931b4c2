"""PDM: splits a block's weights into a weak part theta_b and a good part theta_g by a mask
in a latent space (aim.md section 4).
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from equimodal.errors import UserError
from equimodal.methods.aim.settings import PDMSettings

# What is decoupled: the weights of convolutions and linear maps. Biases and normalisation affine stay shared with the
# original block.
_DECOUPLED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention)


def decoupled_weights(block: nn.Module) -> dict[str, nn.Parameter]:
    """Names (within the block) and weights that PDM decouples, in the block's order."""
    names = [
        f"{prefix}.{name}" if prefix else name
        for prefix, module in block.named_modules()
        if isinstance(module, _DECOUPLED)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.dim() >= 2 and name.endswith("weight")
    ]
    found = {name: block.get_parameter(name) for name in names}
    if not found:
        raise UserError(
            f"aim: a block ({type(block).__name__}) has no convolution or linear weight to decouple: cut the"
            " encoder elsewhere or set aim.pam: false"
        )
    return found


class Decoupler(nn.Module):
    """Phi_lat, Phi_mask and Psi of one weight tensor (Eq. 7); each is one fully connected layer on rows of length n.

    Args:
        n: fan-in of a row (`rows`), or all of the tensor's weights (`exact`).
        latent: width of theta_lat.
    """

    def __init__(self, n: int, latent: int, like: Tensor) -> None:
        super().__init__()

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(shape, dtype=like.dtype, device=like.device))

        # Built by hand: nn.Linear would draw its start from the global generator and shift the run's other draws.
        self.encode, self.encode_bias = zeros(latent, n), zeros(latent)
        self.mask, self.mask_bias = zeros(latent, latent), zeros(latent)
        self.decode, self.decode_bias = zeros(n, latent), zeros(n)

    @torch.no_grad()
    def reset(self, rows: Tensor, mask_std: float, generator: torch.Generator) -> None:
        """Orthonormal encoder, its transpose as decoder (exact while n <= latent), mask logits of spread `mask_std`
        around 0 on these rows [r, n].
        """
        latent, n = self.encode.shape
        # One orthonormal set per size of the smaller side: QR of a tall matrix.
        basis, _ = torch.linalg.qr(
            torch.randn(max(latent, n), min(latent, n), generator=generator, dtype=torch.float64)
        )
        self.encode.copy_(basis if latent >= n else basis.T)
        self.decode.copy_(self.encode.T)
        for bias in (self.encode_bias, self.mask_bias, self.decode_bias):
            bias.zero_()
        size = functional.linear(rows, self.encode).square().sum(1).mean().sqrt().clamp_min(1e-12)
        self.mask.copy_(torch.randn(latent, latent, generator=generator))
        self.mask.mul_(mask_std / size)

    def latent(self, rows: Tensor, constant: bool) -> tuple[Tensor, Tensor]:
        """theta_lat and w of rows [r, n]: both [r, latent]. `constant` keeps the PDM's own weights out of the graph."""
        encode, encode_bias, mask, mask_bias = (
            p.detach() if constant else p for p in (self.encode, self.encode_bias, self.mask, self.mask_bias)
        )
        lat = functional.linear(rows, encode, encode_bias)
        return lat, torch.sigmoid(functional.linear(lat, mask, mask_bias))

    def restore(self, lat: Tensor, constant: bool) -> Tensor:
        """Psi: rows [r, n] from the latent [r, latent]."""
        decode, decode_bias = (p.detach() if constant else p for p in (self.decode, self.decode_bias))
        return functional.linear(lat, decode, decode_bias)


class BlockDecoupling(nn.Module):
    """The decouplers of one block's weights. The block itself is passed in, never held."""

    def __init__(self, block: nn.Module, settings: PDMSettings) -> None:
        super().__init__()
        self.exact = settings.reading == "exact"
        weights = decoupled_weights(block)
        self.names = list(weights)
        self.parts = nn.ModuleList(
            [Decoupler(self.rows(weight).shape[1], settings.latent, weight) for weight in weights.values()]
        )

    def rows(self, weight: Tensor) -> Tensor:
        """A weight as rows [out, fan-in], or as one row of everything (`exact`)."""
        return weight.reshape(1, -1) if self.exact else weight.flatten(1)

    def pairs(self, block: nn.Module) -> Iterator[tuple[str, Tensor, Decoupler]]:
        """Name, weight and decoupler of every decoupled tensor."""
        for name, part in zip(self.names, self.parts, strict=True):
            assert isinstance(part, Decoupler)
            yield name, block.get_parameter(name), part

    def reset(self, block: nn.Module, mask_std: float, generator: torch.Generator) -> None:
        """Initialise all decouplers for the block's present weights."""
        for _, weight, part in self.pairs(block):
            part.reset(self.rows(weight.detach()), mask_std, generator)

    def weak(self, block: nn.Module) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """theta_b {name: weight's shape} with gradient to theta only (Eq. 13),
        and mean and std of w over the block, detached.
        """
        theta, masks = {}, []
        with _full_precision(block):
            for name, weight, part in self.pairs(block):
                lat, w = part.latent(self.rows(weight), constant=True)
                theta[name] = _shaped(part.restore(lat * w, constant=True), weight)
                masks.append(w.detach())
        count = sum(w.numel() for w in masks)
        mean = torch.stack([w.sum() for w in masks]).sum() / count
        spread = torch.stack([(w - mean).square().sum() for w in masks]).sum() / count
        return theta, mean, spread.sqrt()

    def good(self, block: nn.Module, relative: bool, detach: bool) -> tuple[dict[str, Tensor], Tensor]:
        """theta_g {name: weight's shape} and L_re of Eq. 8, with gradient to the PDM (and to theta unless `detach`)."""
        theta: dict[str, Tensor] = {}
        errors, sizes = [], []
        with _full_precision(block):
            for name, weight, part in self.pairs(block):
                rows = self.rows(weight.detach() if detach else weight)
                lat, w = part.latent(rows, constant=False)
                theta[name] = _shaped(part.restore(lat * (1 - w), constant=False), weight)
                errors.append((rows - part.restore(lat, constant=False)).square().sum())
                sizes.append(rows.detach().square().sum())
        error = torch.stack(errors).sum()
        return theta, error / torch.stack(sizes).sum().clamp_min(1e-12) if relative else error


class Decoupling(nn.Module):
    """PDM of all modulated blocks: modality -> the block of each depth."""

    def __init__(self, blocks: dict[str, list[nn.Module]], settings: PDMSettings) -> None:
        super().__init__()
        if settings.reading == "exact":
            _check_budget(blocks, settings)
        self.blocks = nn.ModuleDict(
            {name: nn.ModuleList([BlockDecoupling(block, settings) for block in line]) for name, line in blocks.items()}
        )

    def of(self, modality: str, depth: int) -> BlockDecoupling:
        """The decoupling of one block (depth from 0)."""
        line = self.blocks[modality]
        assert isinstance(line, nn.ModuleList)
        part = line[depth]
        assert isinstance(part, BlockDecoupling)
        return part


def _shaped(rows: Tensor, weight: Tensor) -> Tensor:
    """Rows as a tensor of the weight's shape and strides: convolutions of mixed memory formats are an eighth slower."""
    shaped = rows.reshape(weight.shape)
    return shaped if shaped.stride() == weight.stride() else torch.empty_like(weight).copy_(shaped)


def _full_precision(block: nn.Module) -> torch.autocast:
    """No autocast: a bfloat16 theta_b would differ from theta by rounding, in every weight."""
    return torch.autocast(next(block.parameters()).device.type, enabled=False)


def _check_budget(blocks: dict[str, list[nn.Module]], settings: PDMSettings) -> None:
    sizes = [
        weight.numel() for line in blocks.values() for block in line for weight in decoupled_weights(block).values()
    ]
    needed = sum(2 * n * settings.latent + settings.latent**2 for n in sizes)
    if needed > settings.max_weights:
        raise UserError(
            f"aim: pdm.reading = exact needs {needed:,} PDM weights here, pdm.max_weights allows"
            f" {settings.max_weights:,}: use pdm.reading: rows, a smaller pdm.latent, or raise pdm.max_weights"
        )
