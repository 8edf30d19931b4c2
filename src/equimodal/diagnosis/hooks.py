"""Looking into a model that is not ours: outputs of named submodules, read or zeroed, by forward hooks."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from equimodal.errors import UserError


def submodule(model: nn.Module, name: str, role: str) -> nn.Module:
    """A submodule by its dotted name; a UserError names near ones."""
    known = dict(model.named_modules(remove_duplicate=False))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or [each for each in known if each][:3]
        raise UserError(f"diagnose: {role}: the model has no submodule {name!r}; near: {', '.join(near) or 'none'}")
    return known[name]


def pooled(output: Any, batch: int, name: str) -> Tensor:
    """A submodule's output as one vector per sample [B, C], float64 on the CPU.

    Vectors as they are; tokens [B, T, C] by their mean; maps [B, C, ...] by their mean over space; frames folded into
    the batch [B T, C, ...] by their mean too. Of several tensors the first counts.
    """
    leaves = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if not leaves or leaves[0].dim() < 2 or len(leaves[0]) % batch:
        shape = f" of shape {list(leaves[0].shape)}" if leaves else ""
        raise UserError(
            f"diagnose: layers: {name} puts out no vectors{shape} of {batch} samples: name another, or pool="
        )
    x = leaves[0].detach().double()
    if x.dim() > 3:
        x = x.mean(tuple(range(2, x.dim())))
    elif x.dim() == 3:
        x = x.mean(1)
    return x.view(batch, -1, x.shape[1]).mean(1).cpu()


class Watched:
    """Pooled outputs of submodules, and the input of one, over the passes while it is entered.

    Args:
        names: submodules whose outputs are wanted.
        decision: submodule whose input is wanted, as it is.
        pool: maps an output to [B, C] in place of `pooled`.
    """

    def __init__(
        self, model: nn.Module, names: Iterable[str], decision: str | None, pool: Callable[[Any], Tensor] | None
    ) -> None:
        self._modules = {name: submodule(model, name, "layers") for name in dict.fromkeys(names)}
        self._decision = None if decision is None else (decision, submodule(model, decision, "decision"))
        self._pool = pool
        self._batch = 0
        self._calls: dict[str, int] = {}
        self._taken = 0
        self._outputs: dict[str, list[Tensor]] = {name: [] for name in self._modules}
        self._inputs: list[Tensor] = []

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The hooks are there inside, and gone after."""
        with ExitStack() as stack:
            for name, module in self._modules.items():
                stack.callback(module.register_forward_hook(self._reader(name)).remove)
            if self._decision is not None:
                stack.callback(self._decision[1].register_forward_pre_hook(self._taker(self._decision[0])).remove)
            yield

    @contextmanager
    def batch(self, size: int) -> Iterator[None]:
        """Around one call of the model with so many samples; a UserError where a submodule was not called once."""
        self._batch, self._calls, self._taken = size, {}, 0
        yield
        decision = [] if self._decision is None else [self._decision[0]]
        for name, calls in [
            *((name, self._calls.get(name, 0)) for name in self._modules),
            *((name, self._taken) for name in decision),
        ]:
            if calls != 1:
                raise UserError(
                    f"diagnose: the submodule {name} was called {calls} times in a pass, not once: name one that sees"
                    " one modality once"
                )

    @property
    def outputs(self) -> dict[str, Tensor]:
        """Submodule -> [n, C]."""
        return {name: torch.cat(parts) for name, parts in self._outputs.items()}

    @property
    def decision_inputs(self) -> Tensor:
        """[n, F] of the decision layer."""
        return torch.cat(self._inputs)

    def _reader(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def read(module: nn.Module, args: Any, output: Any) -> None:
            self._calls[name] = self._calls.get(name, 0) + 1
            own = self._pool(output).detach().double().cpu() if self._pool else pooled(output, self._batch, name)
            self._outputs[name].append(own)

        return read

    def _taker(self, name: str) -> Callable[[nn.Module, Any], None]:
        def take(module: nn.Module, args: Any) -> None:
            self._taken += 1
            if not args or not isinstance(args[0], Tensor) or args[0].dim() != 2:
                raise UserError(
                    f"diagnose: decision: the input of {name} is no [B, F]: name a linear layer on features"
                )
            self._inputs.append(args[0].detach().double().cpu())

        return take


@contextmanager
def zeroed_outputs(model: nn.Module, names: Mapping[str, str], modalities: Iterable[str]) -> Iterator[None]:
    """Inside, the encoders {modality: submodule} of `modalities` put out zeros."""

    def zero(module: nn.Module, args: Any, output: Any) -> Any:
        return pytree.tree_map_only(Tensor, torch.zeros_like, output)

    with ExitStack() as stack:
        for name in modalities:
            stack.callback(submodule(model, names[name], "encoders").register_forward_hook(zero).remove)
        yield
