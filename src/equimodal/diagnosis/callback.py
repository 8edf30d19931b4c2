"""What the callbacks of training frameworks have in common: a monitor that each training starts anew."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from torch import nn

from equimodal.diagnosis.training import TrainingMonitor
from equimodal.errors import UserError


class MonitorCallback:
    """A `TrainingMonitor` in a framework's training loop; subclasses say when.

    Args:
        encoders: modality -> submodule of the model that is trained.
        shared: submodules whose weights all modalities use, for `monitor.unimodal`; by default everything outside the
            encoders.

    Raises:
        UserError: when training begins, what a `TrainingMonitor` refuses.
    """

    def __init__(self, encoders: Mapping[str, str], shared: Sequence[str] | None = None) -> None:
        self._encoders = dict(encoders)
        self._shared = shared
        self._monitor: TrainingMonitor | None = None

    @property
    def monitor(self) -> TrainingMonitor:
        """The monitor of the training that began last, for `diagnose(training=...)`.

        Raises:
            UserError: none has begun.
        """
        if self._monitor is None:
            raise UserError(f"{type(self).__name__}: no training has begun with this callback")
        return self._monitor

    def _begin(self, model: nn.Module) -> None:
        # Not before: only now are the weights on their device, and those of a checkpoint that is resumed.
        self._monitor = TrainingMonitor(model, self._encoders, self._shared)


def framework_class(places: Sequence[str], name: str, asked: str, install: str) -> Any:
    """Class `name` from the first of the modules `places` that is installed; Any, as it may be of packages that are
    not.

    Raises:
        UserError: none is installed.
    """
    missing = []
    for place in places:
        try:
            return getattr(import_module(place), name)
        except ModuleNotFoundError as error:
            missing.append(str(error))
    raise UserError(f"equimodal.{asked}: {'; '.join(missing)}: pip install {install}")
