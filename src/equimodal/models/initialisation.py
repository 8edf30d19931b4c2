"""How weights start."""

from torch import nn


def initialise(module: nn.Module) -> None:
    """The initialisation of the OGM-GE family (methods.md 4.1): xavier linear, kaiming fan_out convolutions; layer
    normalisation as it is.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_normal_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
