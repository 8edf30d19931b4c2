"""Mutual information of real values by histograms, as ARM measures it (methods.md section 16)."""

import torch
from torch import Tensor


def binned(values: Tensor, bins: int) -> Tensor:
    """Numbers of the bins [n] (int64) of values [n]: `bins` of equal width from the lowest to the highest value.
    Values that are all alike are in bin 0.
    """
    low, high = values.aminmax()
    places: Tensor = ((values - low) / (high - low) * bins).nan_to_num(0.0)
    return places.clamp(0, bins - 1).long()


def entropy(places: Tensor, cells: int) -> Tensor:
    """Entropy [] in nats, float64, of the histogram of cell numbers [n] from 0 to `cells` - 1."""
    counts = torch.zeros(cells, dtype=torch.float64, device=places.device)
    shares = counts.index_add_(0, places, torch.ones_like(places, dtype=torch.float64)) / len(places)
    return -torch.xlogy(shares, shares).sum()


def normalised_information(x: Tensor, y: Tensor, bins: int, given: Tensor, states: int) -> Tensor:
    """2 I(x; y | z) / (H(x | z) + H(y | z)), [] in float64, from 0 to 1; 0 where z leaves nothing of either open.

    Args:
        x, y: bins [n], from 0 to `bins` - 1.
        given: z [n], from 0 to `states` - 1; of one state, it is the mutual information without a condition.
    """
    known = entropy(given, states)
    left_x = entropy(given * bins + x, states * bins) - known
    left_y = entropy(given * bins + y, states * bins) - known
    left_both = entropy((given * bins + x) * bins + y, states * bins**2) - known
    either = left_x + left_y
    return torch.where(either > 0, 2 * (either - left_both) / either, 0.0)


def marginal_and_conditional(features: Tensor, fused: Tensor, bins: int, conditional_bins: int) -> Tensor:
    """nmi^m and cnmi^m [2, M], float64: the normalised information that the numbers of each modality's feature have of
    those of the fused one, without a condition and given the other modalities' features.

    Args:
        features: z^m [M, B, d]; only the order of each one's numbers and their distances count, not their scale.
        fused: [B, d].
    """
    count = len(features)
    flat, target = features.flatten(1), fused.flatten()
    fine, coarse = ([binned(row, n) for row in (*flat, target)] for n in (bins, conditional_bins))
    anything = torch.zeros_like(fine[-1])
    found = []
    for m in range(count):
        others = anything
        for o in range(count):
            if o != m:
                others = others * conditional_bins + coarse[o]
        states = conditional_bins ** (count - 1)
        found.append(
            torch.stack(
                [
                    normalised_information(fine[m], fine[-1], bins, anything, 1),
                    normalised_information(coarse[m], coarse[-1], conditional_bins, others, states),
                ]
            )
        )
    return torch.stack(found, 1)
