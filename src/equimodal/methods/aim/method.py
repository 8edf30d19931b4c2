"""AIM as a training method of the workbench: modulation after a joint warm-up, prototypes and PDM fitted on it (aim.md sections 2 to 6)."""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from equimodal.errors import UserError
from equimodal.methods.aim.evaluation import average_gradients
from equimodal.methods.aim.fitting import fit_modulator, make_optimizers, train_decoupling
from equimodal.methods.aim.modulator import Modulator
from equimodal.methods.aim.prototypes import fit_prototypes
from equimodal.methods.base import Batch, Method, Step, Task
from equimodal.models.framework import MultimodalModel
from equimodal.settings.methods import AIMSettings, MethodSettings

if TYPE_CHECKING:
    from equimodal.training.loop import Loop

log = logging.getLogger(__name__)

SATURATED = 0.95


class AIMMethod(Method):
    """L = CE + lambda L_mod + Eq. 5 on the joint warm-up of `start_epoch` epochs; inference is the plain framework.

    The stages around it: `fit` on the frozen warm-up gives `fit_state`, which training takes by `load_fit`. Settings make the variants.
    """

    paper = "arXiv 2508.19769"
    needs_class_means = True

    def __init__(self, model: MultimodalModel, settings: MethodSettings, task: Task) -> None:
        super().__init__(model, settings, task)
        assert isinstance(settings, AIMSettings)
        self.aim = settings
        self.modulator = Modulator(model, settings, task.classes, task.class_means, task.seed)
        self._optimizers = make_optimizers(self.modulator)
        self.steps = 0
        self._sums: dict[str, Tensor] = {}
        self._counted = 0
        # DDP reduces the framework's gradients; those of AIM's own parts are averaged by `average_gradients`, since the PDM
        # is trained by backward passes that DDP does not see.
        self._ddp_params_and_buffers_to_ignore = [f"modulator.{name}" for name in self.modulator.state_dict()]

    @classmethod
    def fit_key(cls, settings: MethodSettings) -> dict[str, Any]:
        """The settings that the fit depends on: variants with the same ones share it."""
        assert isinstance(settings, AIMSettings)
        names = {"start_epoch", "scores"}
        if settings.scores == "prototypes":
            names |= {"dap", "tau", "normalize", "pool"}
        if settings.pam:
            names |= {"pdm"}
        key = {name: value for name, value in settings.slice().items() if name in names}
        if "pdm" in key:
            key["pdm"] = {name: value for name, value in key["pdm"].items() if name != "every"}
        if settings.scores == "label":
            key["classifiers"] = {"lr": settings.dap.lr, "steps": settings.dap.steps}
        return key

    def fit(self, batches: Callable[[], Iterator[Batch]]) -> dict[str, Any]:
        """Fit prototypes (or classifiers) and PDM on the model as it is, frozen; returns the log (aim.fitting.fit_modulator).

        Args:
            batches: gives an endless iterator of training batches, the same at every call.
        """
        return fit_modulator(self.modulator, self._optimizers, lambda: ((batch.inputs, batch.labels) for batch in batches()))

    def fit_state(self) -> dict[str, Tensor]:
        """What `fit` made: the parts' weights, and their optimizers' moments, so that the first steps of modulation do not jump."""
        state = {name: value for name, value in self.modulator.state_dict().items() if not name.startswith("target_")}
        for part, optimizer in self._optimizers.items():
            for index, entry in optimizer.state_dict()["state"].items():
                state |= {f"optimizer/{part}/{index}/{key}": torch.as_tensor(value) for key, value in entry.items()}
        return {name: value.detach().clone() for name, value in state.items()}

    def load_fit(self, tensors: dict[str, Tensor]) -> None:
        """Take up what `fit_state` gave, made with the same `fit_key`."""
        own = {name: value for name, value in tensors.items() if not name.startswith("optimizer/")}
        missing, unexpected = self.modulator.load_state_dict(own, strict=False)
        missing = [name for name in missing if not name.startswith("target_")]
        if missing or unexpected:
            raise UserError(
                f"aim: the fitted prototypes do not belong to these settings (first difference: {[*missing, *unexpected][0]}): rebuild the prototypes stage"
            )
        for part, optimizer in self._optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                if name.startswith(f"optimizer/{part}/"):
                    index, key = name.removeprefix(f"optimizer/{part}/").split("/")
                    state.setdefault(int(index), {})[key] = value
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return self._optimizers

    def begin_epoch(self, epoch: int, loop: "Loop") -> None:
        self._sums, self._counted = {}, 0
        if self.steps == 0:
            if self.modulator.rides and self.task.classes > loop.training.batch_size:
                ratio = self.task.classes / loop.training.batch_size
                log.info("aim: %d prototypes ride with each batch of %d: a step costs %.1f times more", self.task.classes, loop.training.batch_size, 1 + ratio)
            if self.modulator.dap is not None and not self.modulator.rides:
                self.modulator.refresh_targets(0.0)

    def forward(self, batch: Batch) -> Step:
        due = self.modulator.pdm is not None and self.aim.lambda_mod > 0 and self.steps % self.aim.pdm.every == 0
        terms = self.modulator(batch.inputs, batch.labels, self.steps, due)
        losses = [functional.cross_entropy(terms.logits, batch.labels)] if self.aim.task_loss else []
        if terms.loss is not None:
            losses.append(terms.loss)
        return Step(losses[0] if len(losses) == 1 else losses[0] + losses[1], terms.logits, terms.logs)

    def training_step(self, batch: Batch, loop: "Loop") -> Step:
        step: Step = loop.module(batch)
        loop.optimize(step.loss)
        logs = dict(step.logs)
        due = self.modulator.waiting
        if due:
            with loop.fabric.autocast():
                logs |= train_decoupling(self.modulator, self._optimizers["pdm"])
        for part, optimizer in self._optimizers.items():
            if part == "pdm" and due:
                continue
            self._own_step(optimizer)
        self.steps += 1
        self._account(logs)
        return Step(step.loss, step.logits, logs)

    def _own_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step a part's optimizer with the gradients that the step's backward pass left in it, if it left any."""
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

    def _account(self, logs: dict[str, Tensor]) -> None:
        self._counted += 1
        for name, value in logs.items():
            if name.endswith(("/s", "/s_aux", "/saturated_low", "/saturated_high")):
                self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()

    def end_epoch(self, epoch: int, loop: "Loop") -> dict[str, float]:
        self._warn(epoch)
        modulator = self.modulator
        if modulator.dap is None or modulator.rides or self.aim.lambda_mod == 0:
            return {}
        found = fit_prototypes(modulator.model, modulator.dap, self._optimizers["dap"], self.aim.dap_steps)
        modulator.refresh_targets(self.aim.ema)
        return {f"dap/{name}": values[-1] for name, values in found.items() if name != "step"}

    def _warn(self, epoch: int) -> None:
        """One line a health check of aim.md sections 5 and 7 that fails on the epoch's means."""
        means = {name: float(value) / max(1, self._counted) for name, value in self._sums.items()}
        blocks = [name.removesuffix("/s") for name in means if name.endswith("/s")]
        saturated = [b for b in blocks if max(means[f"{b}/saturated_low"], means[f"{b}/saturated_high"]) > SATURATED]
        if saturated:
            log.warning(
                "aim, epoch %d: over %.0f %% of samples have a true-class probability under 0.01 or over 0.99 at %s: see aim.tau",
                epoch,
                100 * SATURATED,
                ", ".join(saturated),
            )
        inverted = [b for b in blocks if means.get(f"{b}/s_aux", -1.0) >= means[f"{b}/s"]]
        if inverted:
            log.warning("aim, epoch %d: auxiliary blocks score no lower than the originals at %s: see aim.pdm", epoch, ", ".join(inverted))

    def extra(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_extra(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
