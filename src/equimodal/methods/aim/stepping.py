"""AIM's own training beside the framework's: what it adds to a batch's loss, its optimizers' steps, its state. Method
and library share it.
"""

from typing import Any

import torch
from torch import Tensor

from equimodal.errors import UserError
from equimodal.methods.aim.dap import fit_prototypes
from equimodal.methods.aim.fitting import Batches, fit_modulator, make_optimizers
from equimodal.methods.aim.modulation import Terms
from equimodal.methods.aim.modulator import Modulator
from equimodal.methods.distributed import average_gradients
from equimodal.models.padded import Input


class Stepper:
    """A modulator with its optimizers and the count of its steps.

    The PDM's optimizer is not among `optimizers`: PDM and moments begin anew with every epoch.

    Args:
        modulator: of a framework at any stage of its training.
        class_means: as the modulator's; a fit needs them even where modulation does without (AIM-label).
    """

    def __init__(self, modulator: Modulator, class_means: dict[str, Input] | None) -> None:
        self.modulator = modulator
        self.class_means = class_means
        self.optimizers = make_optimizers(modulator)
        self.count = 0
        self._rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self._all()]

    def _all(self) -> list[torch.optim.Optimizer]:
        own = self.modulator.auxiliaries
        return [*self.optimizers.values(), *([] if own is None else [own.optimizer])]

    def fit(self, batches: Batches, pdm: bool, progress: bool = False) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Fit prototypes on the frozen framework, and try the PDM if asked: (log, what `load_fit` takes).

        Apart from `pdm` the settings of modulation do not matter, so that variants can share a fit. `progress` shows on
        stderr how far it is.
        """
        own = self.modulator
        changes = {"scores": "prototypes", "update": "joint", "ride_fraction": 1.0, "pam": pdm}
        settings = own.settings.model_copy(update=changes)
        device = next(own.model.parameters()).device
        fitted = Modulator(own.model, settings, own.objective, self.class_means, own.seed).to(device)
        optimizers = make_optimizers(fitted)
        log = fit_modulator(fitted, optimizers, batches, progress)
        state = dict(fitted.state_dict())
        for part, optimizer in optimizers.items():
            # The moments too: Adam begins with steps of full length, which would undo much of the fit.
            for index, entry in optimizer.state_dict()["state"].items():
                state |= {f"optimizer/{part}/{index}/{key}": torch.as_tensor(value) for key, value in entry.items()}
        return log, {name: value.detach().clone() for name, value in state.items()}

    def load_fit(self, tensors: dict[str, Tensor]) -> None:
        """Take from a fit what these settings use;
        a UserError when it was made for another model or with other settings.
        """
        needed = {
            name: value for name, value in self.modulator.state_dict().items() if name.startswith(("dap.", "gap"))
        }
        wrong = sorted(
            name for name, value in needed.items() if name not in tensors or tensors[name].shape != value.shape
        )
        if wrong:
            raise UserError(
                f"aim: the fitted prototypes do not belong to this model and these settings ({wrong[0]}"
                " differs): rebuild the prototypes stage"
            )
        self.modulator.load_state_dict({name: tensors[name] for name in needed}, strict=False)
        for part, optimizer in self.optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                if name.startswith(f"optimizer/{part}/"):
                    index, key = name.removeprefix(f"optimizer/{part}/").split("/")
                    state.setdefault(int(index), {})[key] = value.clone()
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

    def begin_epoch(self, rate: float = 1.0) -> None:
        """Before an epoch's first batch.

        Args:
            rate: the epoch's learning rate over the first's, which AIM's own rates follow (`follow_schedule`).
        """
        if self.modulator.auxiliaries is not None:
            self.modulator.auxiliaries.renewed = False
        follow = {"all": self._all(), "prototypes": list(self.optimizers.values()), "none": []}
        following = follow[self.modulator.settings.follow_schedule]
        for optimizer, rates in zip(following, self._rates, strict=False):
            for group, own in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = own * rate

    def terms(self, inputs: dict[str, Input], labels: Tensor) -> Terms:
        """AIM's terms on a batch of training."""
        modulator = self.modulator
        if self.count == 0 and modulator.constant and not modulator.rides:
            modulator.refresh_targets(0.0)
        terms: Terms = modulator(inputs, labels, self.count)
        return terms

    def step(self) -> None:
        """Train AIM's own parts, after the framework's optimizer has stepped on the loss that `terms` is part of."""
        own = self.modulator.auxiliaries
        for optimizer in self.optimizers.values():
            _step_if_reached(optimizer)
        if own is not None and not own.settings.detach and own.due(self.count):
            own.step()
        self.count += 1

    def end_epoch(self) -> dict[str, float]:
        """`update: alternate`: Eq. 5 with the framework frozen, then the next epoch's prototypes.

        Returns what to log.
        """
        modulator = self.modulator
        settings = modulator.settings
        if settings.update != "alternate" or modulator.dap is None or settings.lambda_mod == 0:
            return {}
        found = fit_prototypes(modulator.model, modulator.dap, self.optimizers["dap"], settings.dap_steps)
        modulator.refresh_targets(settings.ema)
        return {f"dap/{name}": values[-1] for name, values in found.items() if name != "step"}


def _step_if_reached(optimizer: torch.optim.Optimizer) -> None:
    """Step with the gradients that the framework's backward pass left, if it left any."""
    reached = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if not reached:
        return
    average_gradients(reached)
    for parameter in reached:
        # With float16 an overflowing loss scale leaves inf here; Adam is indifferent to the scale itself.
        torch.nan_to_num_(parameter.grad, nan=0.0, posinf=0.0, neginf=0.0)  # type: ignore[arg-type]
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
