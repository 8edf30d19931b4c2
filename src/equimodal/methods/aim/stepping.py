"""AIM's own training beside the framework's: what it adds to a batch's loss, its optimizers' steps, its state. Method
and library share it.
"""

from typing import Any

import torch
from torch import Tensor

from equimodal.errors import UserError
from equimodal.methods.aim.dap import fit_prototypes
from equimodal.methods.aim.fitting import Batches, fit_modulator, make_optimizers, train_decoupling
from equimodal.methods.aim.modulation import Logs, Terms
from equimodal.methods.aim.modulator import Modulator
from equimodal.methods.distributed import average_gradients
from equimodal.models.padded import Input


class Stepper:
    """A modulator with its optimizers and the count of its steps.

    Args:
        modulator: of a framework at any stage of its training.
        class_means: as the modulator's; a fit needs them even where modulation does without (AIM-label).
    """

    def __init__(self, modulator: Modulator, class_means: dict[str, Input] | None) -> None:
        self.modulator = modulator
        self.class_means = class_means
        self.optimizers = make_optimizers(modulator)
        self.count = 0

    def fit(self, batches: Batches, pdm: bool, progress: bool = False) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Fit prototypes, and the PDM if asked, on the frozen framework: (log, what `load_fit` takes).

        Apart from `pdm` the settings of modulation do not matter, so that variants can share a fit. `progress` shows on
        stderr how far it is.
        """
        own = self.modulator
        settings = own.settings.model_copy(update={"scores": "prototypes", "update": "joint", "pam": pdm})
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
            name: value
            for name, value in self.modulator.state_dict().items()
            if name.startswith(("dap.", "pdm.", "gap"))
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

    def terms(self, inputs: dict[str, Input], labels: Tensor) -> Terms:
        """AIM's terms on a batch of training."""
        settings = self.modulator.settings
        if self.count == 0 and self.modulator.constant:
            self.modulator.refresh_targets(0.0)
        due = self.modulator.pdm is not None and settings.lambda_mod > 0 and self.count % settings.pdm.every == 0
        return self.modulator(inputs, labels, self.count, due)

    def step(self) -> Logs:
        """Train AIM's own parts, after the framework's optimizer has stepped on the loss that `terms` is part of."""
        logs: Logs = {}
        waiting = self.modulator.waiting
        if waiting:
            logs = train_decoupling(self.modulator, self.optimizers["pdm"])
        for part, optimizer in self.optimizers.items():
            if not (part == "pdm" and waiting):
                _step_if_reached(optimizer)
        self.count += 1
        return logs

    def end_epoch(self) -> dict[str, float]:
        """`update: alternate`: Eq. 5 with the framework frozen, then the next epoch's prototypes.

        Returns what to log.
        """
        modulator = self.modulator
        if not modulator.constant or modulator.settings.lambda_mod == 0:
            return {}
        assert modulator.dap is not None
        found = fit_prototypes(modulator.model, modulator.dap, self.optimizers["dap"], modulator.settings.dap_steps)
        modulator.refresh_targets(modulator.settings.ema)
        return {f"dap/{name}": values[-1] for name, values in found.items() if name != "step"}


def _step_if_reached(optimizer: torch.optim.Optimizer) -> None:
    """Step with the gradients that the framework's backward pass left, if it left any."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if all(parameter.grad is None for parameter in parameters):
        return
    average_gradients(parameters)
    for parameter in parameters:
        if parameter.grad is not None:
            # With float16 an overflowing loss scale leaves inf here; Adam is indifferent to the scale itself.
            torch.nan_to_num_(parameter.grad, nan=0.0, posinf=0.0, neginf=0.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
