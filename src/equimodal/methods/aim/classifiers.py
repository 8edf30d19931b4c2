"""AIM-label: a pooled linear classifier a block gives the distribution of Eq. 9 and 10 in place of prototypes (aim.md section 6)."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class BlockClassifiers(nn.Module):
    """One linear classifier a modality and depth; they start at zero (every class alike), so no generator is drawn from.

    Args:
        widths: modality -> width of the features of each depth.
        classes: K.
    """

    def __init__(self, widths: dict[str, list[int]], classes: int) -> None:
        super().__init__()
        self.weights = nn.ModuleDict({name: nn.ParameterList([torch.zeros(classes, width) for width in line]) for name, line in widths.items()})
        self.biases = nn.ModuleDict({name: nn.ParameterList([torch.zeros(classes) for _ in line]) for name, line in widths.items()})

    def log_probabilities(self, modality: str, depth: int, features: Tensor) -> Tensor:
        """log softmax [B, K] of features [B, C_d] (depth from 0)."""
        weight, bias = self.weights[modality][depth], self.biases[modality][depth]  # type: ignore[index]
        return functional.log_softmax(functional.linear(features.to(weight.dtype), weight, bias), dim=1)
