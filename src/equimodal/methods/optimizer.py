"""What methods that change gradients ask of the optimizer."""

import logging

from equimodal.methods.base import Trainer

log = logging.getLogger(__name__)


def wants_sgd(trainer: Trainer, method: str, effect: str) -> None:
    """Warn when the optimizer is not sgd, whose steps alone are in proportion to the gradient.

    Args:
        effect: what another optimizer does to the method, as "divides ... away, so that ... is left".
    """
    name = trainer.training.optimizer.name
    if name != "sgd":
        log.warning("%s: %s %s: use sgd", method, name, effect)
