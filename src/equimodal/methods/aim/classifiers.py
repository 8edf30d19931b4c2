"""AIM-label: one linear classifier per block, on pooled outputs, gives the distribution of Eq. 9 and 10 in place of
prototypes (aim.md section 6).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class BlockClassifiers(nn.Module):
    """One linear classifier per modality and depth, from zero: every class alike, and nothing drawn from a generator.

    L_mod takes them as constants. Their own cross entropy, on features as constants, trains them: L_mod's gradient
    carries alpha_d, which is zero as long as all classifiers are alike, so they would never start.

    Args:
        widths: modality -> width of the features of each depth.
        classes: K.
    """

    def __init__(self, widths: dict[str, list[int]], classes: int) -> None:
        super().__init__()
        self.weights = nn.ModuleDict(
            {name: nn.ParameterList([torch.zeros(classes, width) for width in line]) for name, line in widths.items()}
        )
        self.biases = nn.ModuleDict(
            {name: nn.ParameterList([torch.zeros(classes) for _ in line]) for name, line in widths.items()}
        )

    def log_probabilities(self, modality: str, depth: int, features: Tensor) -> Tensor:
        """log softmax [B, K] of features [B, C_d] (depth from 0), the classifier a constant."""
        weight, bias = self._of(modality, depth)
        return functional.log_softmax(
            functional.linear(features.to(weight.dtype), weight.detach(), bias.detach()), dim=1
        )

    def own_loss(self, modality: str, depth: int, features: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy that trains the classifier, the features constants; targets as in `modulation.score`."""
        weight, bias = self._of(modality, depth)
        return functional.cross_entropy(functional.linear(features.detach().to(weight.dtype), weight, bias), targets)

    def _of(self, modality: str, depth: int) -> tuple[Tensor, Tensor]:
        return self.weights[modality][depth], self.biases[modality][depth]  # type: ignore[index]
