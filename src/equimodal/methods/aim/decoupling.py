"""PDM: splits a block's weights into a weak part theta_b and a good part theta_g by a mask
in a latent space (aim.md sections 4 and 12).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from equimodal.errors import UserError
from equimodal.methods.aim.settings import PDMSettings

# What is decoupled: the weights of convolutions and linear maps. Biases and normalisation affine stay shared with the
# original block.
_DECOUPLED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention)

Weights = dict[str, dict[str, Tensor]]  # modality -> name within its block -> weight


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
    """Phi_lat, Phi_mask and Psi (Eq. 7) of G weights of one shape; each is one fully connected layer per weight, on
    rows of length n.

    They are made anew for the weights of every epoch (`reset`), so they are no part of a state.

    Args:
        count: G.
        n: fan-in of a row (`rows`), or all of a weight's numbers (`exact`).
        latent: width of theta_lat, at most n: as exact, and cheaper.
    """

    def __init__(self, count: int, n: int, latent: int, like: Tensor) -> None:
        super().__init__()
        latent = min(latent, n)

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros((count, *shape), dtype=like.dtype, device=like.device))

        # Built by hand: nn.Linear would draw its start from the global generator and shift the run's other draws.
        self.encode, self.encode_bias = zeros(n, latent), zeros(1, latent)
        self.mask, self.mask_bias = zeros(latent, latent), zeros(1, latent)
        self.decode, self.decode_bias = zeros(latent, n), zeros(1, n)

    @torch.no_grad()
    def reset(self, rows: Tensor, mask_std: float, generator: torch.Generator) -> None:
        """A start that restores the rows [G, r, n] as well as the latent can, exactly from min(r, n) on: an orthonormal
        encoder whose span holds the rows (their leading singular vectors where there are more), its transpose as
        decoder; mask logits of spread `mask_std` around 0.
        """
        _, n, latent = self.encode.shape
        turn, _ = torch.linalg.qr(torch.randn(latent, latent, generator=generator, dtype=torch.float64))
        basis = turn.to(rows).expand(len(rows), -1, -1)  # its own columns where nothing is lost
        if latent < n:
            more = torch.randn(n, latent, generator=generator).to(rows).expand(len(rows), -1, -1)
            lead = rows.mT if rows.shape[1] <= latent else torch.linalg.svd(rows, full_matrices=False)[2].mT
            span, _ = torch.linalg.qr(torch.cat([lead[..., :latent], more], dim=2)[..., :latent])
            basis = span @ basis  # turned, so that no latent coordinate belongs to few rows
        self.encode.copy_(basis)
        self.decode.copy_(basis.mT)
        for bias in (self.encode_bias, self.mask_bias, self.decode_bias):
            bias.zero_()
        size = (rows @ basis).square().sum(2).mean(1).sqrt().clamp_min(1e-12)
        self.mask.copy_(torch.randn(latent, latent, generator=generator))
        self.mask.mul_((mask_std / size)[:, None, None])

    def latent(self, rows: Tensor, constant: bool) -> tuple[Tensor, Tensor]:
        """theta_lat and w of rows [G, r, n]: both [G, r, latent]. `constant` keeps the PDM's own weights out of the
        graph.
        """
        encode, encode_bias, mask, mask_bias = (
            _constant(p) if constant else p for p in (self.encode, self.encode_bias, self.mask, self.mask_bias)
        )
        lat = torch.baddbmm(encode_bias, rows, encode)
        return lat, torch.sigmoid(torch.baddbmm(mask_bias, lat, mask))

    def restore(self, lat: Tensor, constant: bool) -> Tensor:
        """Psi: rows [G, r, n] from the latent [G, r, latent]."""
        decode, decode_bias = (_constant(p) if constant else p for p in (self.decode, self.decode_bias))
        return torch.baddbmm(decode_bias, lat, decode)

    def _save_to_state_dict(self, *_: Any) -> None:
        """Nothing: see the class."""

    def _load_from_state_dict(self, *_: Any) -> None:
        """Nothing: see the class."""


class Weak(NamedTuple):
    """theta_b, with gradient to theta only (Eq. 13), and mean and std of w over a block's weights {m: scalar}."""

    theta: Weights
    mean: dict[str, Tensor]
    spread: dict[str, Tensor]


class Good(NamedTuple):
    """theta_g, and {m: scalar} the raw L_re of Eq. 8 and its share of ||theta||^2."""

    theta: Weights
    error: dict[str, Tensor]
    relative: dict[str, Tensor]


class DepthDecoupling(nn.Module):
    """The decouplers of one depth's blocks, {m: block}; weights of one shape are passed through together. The blocks
    themselves are passed in, never held.
    """

    def __init__(self, blocks: dict[str, nn.Module], settings: PDMSettings) -> None:
        super().__init__()
        self.exact = settings.reading == "exact"
        groups: dict[tuple[int, int], list[tuple[str, str]]] = {}
        like: dict[tuple[int, int], Tensor] = {}
        for modality, block in blocks.items():
            for name, weight in decoupled_weights(block).items():
                rows, n = self.rows(weight).shape
                shape = (rows, n)
                groups.setdefault(shape, []).append((modality, name))
                like[shape] = weight
        self.places = list(groups.values())
        self.parts = nn.ModuleList(
            [Decoupler(len(places), shape[1], settings.latent, like[shape]) for shape, places in groups.items()]
        )
        # Sums over the weights of each block, of numbers that stand in the order of `places`.
        order = [modality for places in self.places for modality, _ in places]
        self.modalities = list(blocks)
        first = next(iter(like.values()))
        sums = torch.tensor([[float(own == m) for own in order] for m in self.modalities])
        self.register_buffer("sums", sums.to(first), persistent=False)
        counts = [rows * min(settings.latent, n) for rows, n in groups]
        masked = torch.tensor([count for count, places in zip(counts, self.places, strict=True) for _ in places])
        self.register_buffer("masked", (sums @ masked.to(sums)).to(first), persistent=False)  # numbers in w by block

    def names(self, modality: str) -> list[str]:
        """Of a block's weights that are decoupled."""
        return [name for places in self.places for own, name in places if own == modality]

    def rows(self, weight: Tensor) -> Tensor:
        """A weight as rows [out, fan-in] in memory's order, or as one row of everything (`exact`)."""
        ordered = weight.permute(0, 2, 3, 1) if _channels_last(weight) else weight
        return ordered.reshape(1, -1) if self.exact else ordered.flatten(1)

    def shaped(self, rows: Tensor, weight: Tensor) -> Tensor:
        """Rows as a tensor of the weight's shape and strides: convolutions of mixed memory formats are slower."""
        if not _channels_last(weight):
            return rows.reshape(weight.shape)
        out, channels, height, width = weight.shape
        return rows.reshape(out, height, width, channels).permute(0, 3, 1, 2)

    def stacked(self, blocks: dict[str, nn.Module], places: list[tuple[str, str]], detach: bool = False) -> Tensor:
        """The weights of a group as rows [G, r, n]."""
        weights = [blocks[modality].get_parameter(name) for modality, name in places]
        return torch.stack([self.rows(weight.detach() if detach else weight) for weight in weights])

    def reset(self, blocks: dict[str, nn.Module], mask_std: float, generator: torch.Generator) -> None:
        """Start all decouplers for the blocks' present weights."""
        for places, part in zip(self.places, self.parts, strict=True):
            assert isinstance(part, Decoupler)
            part.reset(self.stacked(blocks, places, detach=True), mask_std, generator)

    def weak(self, blocks: dict[str, nn.Module]) -> Weak:
        """theta_b of every block, in the weights' shapes."""
        theta: Weights = {modality: {} for modality in self.modalities}
        sums, squares = [], []
        with _full_precision(blocks):
            for places, part in zip(self.places, self.parts, strict=True):
                assert isinstance(part, Decoupler)
                lat, w = part.latent(self.stacked(blocks, places), constant=True)
                self._spread(theta, part.restore(lat * w, constant=True), blocks, places)
                w = w.detach()
                sums.append(w.sum((1, 2)))
                squares.append(w.square().sum((1, 2)))
            number = self.get_buffer("masked")
            mean = self._by_block(torch.cat(sums)) / number
            spread = (self._by_block(torch.cat(squares)) / number - mean.square()).clamp_min(0).sqrt()
        return Weak(theta, self._named(mean), self._named(spread))

    def good(self, blocks: dict[str, nn.Module], detach: bool) -> Good:
        """theta_g of every block and L_re of Eq. 8, with gradient to the PDM (and to theta unless `detach`)."""
        theta: Weights = {modality: {} for modality in self.modalities}
        errors, sizes = [], []
        with _full_precision(blocks):
            for places, part in zip(self.places, self.parts, strict=True):
                assert isinstance(part, Decoupler)
                rows = self.stacked(blocks, places, detach)
                lat, w = part.latent(rows, constant=False)
                self._spread(theta, part.restore(lat * (1 - w), constant=False), blocks, places)
                errors.append((rows - part.restore(lat, constant=False)).square().sum((1, 2)))
                sizes.append(rows.detach().square().sum((1, 2)))
            error = self._by_block(torch.cat(errors))
            relative = error / self._by_block(torch.cat(sizes)).clamp_min(1e-12)
        return Good(theta, self._named(error), self._named(relative))

    def _spread(
        self, theta: Weights, rows: Tensor, blocks: dict[str, nn.Module], places: list[tuple[str, str]]
    ) -> None:
        for (modality, name), own in zip(places, rows.unbind(), strict=True):
            theta[modality][name] = self.shaped(own, blocks[modality].get_parameter(name))

    def _by_block(self, values: Tensor) -> Tensor:
        return self.get_buffer("sums") @ values

    def _named(self, values: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.modalities, values.unbind(), strict=True))


class Decoupling(nn.Module):
    """PDM of all modulated blocks, one part per depth.

    Args:
        blocks: per depth, shallow to deep, {m: block}.
    """

    def __init__(self, blocks: list[dict[str, nn.Module]], settings: PDMSettings) -> None:
        super().__init__()
        if settings.reading == "exact":
            _check_budget(blocks, settings)
        self.depths = nn.ModuleList([DepthDecoupling(line, settings) for line in blocks])

    def at(self, depth: int) -> DepthDecoupling:
        """The decoupling of one depth's blocks (depth from 0)."""
        part = self.depths[depth]
        assert isinstance(part, DepthDecoupling)
        return part


def _constant(parameter: Tensor) -> Tensor:
    return parameter.detach() if parameter.requires_grad else parameter


def _channels_last(weight: Tensor) -> bool:
    return weight.dim() == 4 and not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)


def _full_precision(blocks: dict[str, nn.Module]) -> torch.autocast:
    """No autocast: a bfloat16 theta_b would differ from theta by rounding, in every weight."""
    return torch.autocast(next(next(iter(blocks.values())).parameters()).device.type, enabled=False)


def _check_budget(blocks: list[dict[str, nn.Module]], settings: PDMSettings) -> None:
    sizes = [
        weight.numel() for line in blocks for block in line.values() for weight in decoupled_weights(block).values()
    ]
    latents = [min(settings.latent, n) for n in sizes]
    needed = sum(2 * n * latent + latent**2 for n, latent in zip(sizes, latents, strict=True))
    if needed > settings.max_weights:
        raise UserError(
            f"aim: pdm.reading = exact needs {needed:,} PDM weights here, pdm.max_weights allows"
            f" {settings.max_weights:,}: use pdm.reading: rows, a smaller pdm.latent, or raise pdm.max_weights"
        )
