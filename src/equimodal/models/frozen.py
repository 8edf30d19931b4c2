"""A framework held still: its modes and running statistics as they were,
whatever is passed through it (aim.md sections 3 and 4).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, every module's own mode restored after."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """As `evaluation_mode`, but batch normalisation uses the batch's statistics, as it will during modulation;
    dropout stays off.
    """
    with evaluation_mode(model):
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.training = True
        yield


@contextmanager
def constant(module: nn.Module) -> Iterator[None]:
    """Inside, the module's parameters are constants: gradients flow through what it computes, and none to them."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def untracked(model: nn.Module) -> Iterator[None]:
    """Inside, batch normalisation in training mode uses the batch's statistics and leaves the running ones alone."""
    norms = [part for part in model.modules() if _tracks(part) and part.training]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _tracks(part: nn.Module) -> TypeGuard[_BatchNorm]:
    return isinstance(part, _BatchNorm) and part.track_running_stats


def call_untouched(module: nn.Module, parameters: dict[str, Tensor], *inputs: Any) -> Any:
    """`module(*inputs)` with some parameters replaced; no buffer of the module changes. Batch normalisation in training
    mode uses the batch's statistics.
    """
    clones: dict[str, Tensor] = {}
    for prefix, part in module.named_modules():
        if not _tracks(part):
            clones |= {name: b.clone() for name, b in part.named_buffers(prefix, recurse=False)}
    with untracked(module):
        return functional_call(module, {**parameters, **clones}, inputs)


@dataclass(frozen=True)
class Running:
    """Batch normalisations by name, and what their running means and variances were, each in one row of numbers."""

    norms: dict[str, _BatchNorm]
    means: Tensor
    variances: Tensor


def running_statistics(model: nn.Module) -> Running:
    """The running means and variances that a pass in training mode will move, to be given to `normalised_alike` after
    it.
    """
    norms = {
        name: part
        for name, part in model.named_modules()
        if isinstance(part, _BatchNorm) and part.training and part.track_running_stats and part.momentum
    }
    return Running(norms, *_joined(norms))


def _joined(norms: dict[str, _BatchNorm]) -> tuple[Tensor, Tensor]:
    means = [norm.running_mean for norm in norms.values() if norm.running_mean is not None]
    variances = [norm.running_var for norm in norms.values() if norm.running_var is not None]
    return (torch.cat(means), torch.cat(variances)) if norms else (torch.empty(0), torch.empty(0))


@torch.no_grad()
def normalised_alike(model: nn.Module, before: Running, *inputs: Any) -> Any:
    """`model(*inputs)` without gradient, in evaluation mode, normalised by the statistics of the batch that has just
    passed in training mode: what moved the running ones from `before` to what they are.
    """
    norms = before.norms
    means, variances = _joined(norms)
    shares = [(norm.num_features, 1 / norm.momentum) for norm in norms.values() if norm.momentum]
    pace: Any = 1.0
    if shares:  # a number where it is the same everywhere, as it nearly always is
        same = len({share for _, share in shares}) == 1
        pace = shares[0][1] if same else torch.cat([means.new_full((width,), share) for width, share in shares])
    widths = [width for width, _ in shares]
    batch_means = torch.lerp(before.means, means, pace).split(widths)
    batch_variances = torch.lerp(before.variances, variances, pace).clamp_min(0).split(widths)
    found: dict[str, Tensor] = {}
    for name, mean, variance in zip(norms, batch_means, batch_variances, strict=True):
        found |= {f"{name}.running_mean": mean, f"{name}.running_var": variance}
    with evaluation_mode(model):
        return functional_call(model, found, inputs)


@contextmanager
def statistics_of_first(model: nn.Module, samples: int, rows: int) -> Iterator[None]:
    """Inside, batch normalisation takes its statistics from the first `samples` of a batch of `rows`, and the rows
    behind them are normalised by these, gradient through them included: samples and running statistics are what they
    would be without the rows behind.

    SyncBatchNorm keeps its own way, and takes all rows.
    """
    norms = [
        part
        for part in model.modules()
        if isinstance(part, _BatchNorm) and not isinstance(part, nn.SyncBatchNorm) and part.training
    ]
    for norm in norms:
        norm.forward = partial(_normalise, norm, samples, rows)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _normalise(norm: _BatchNorm, samples: int, rows: int, x: Tensor) -> Tensor:
    momentum = 0.0 if norm.momentum is None else norm.momentum
    mean, var = None, None
    if norm.track_running_stats:
        mean, var = norm.running_mean, norm.running_var
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
            if norm.momentum is None:
                momentum = 1.0 / float(norm.num_batches_tracked)
    width = x.shape[1]
    weight = norm.weight if norm.affine else torch.ones(width, device=x.device)
    bias = norm.bias if norm.affine else torch.zeros(width, device=x.device)
    first = x.shape[0] * samples // rows  # frames may be folded into the first axis
    return _FirstStatistics.apply(x, weight, bias, mean, var, momentum, norm.eps, first)  # type: ignore[no-any-return]


class _FirstStatistics(torch.autograd.Function):
    """Batch normalisation of [n, C, ...] by the mean and biased variance of its first rows."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        momentum: float,
        eps: float,
        first: int,
    ) -> Tensor:
        mean, var = torch.batch_norm_update_stats(x[:first], running_mean, running_var, momentum)
        ctx.save_for_backward(x, weight, mean, var)
        ctx.eps, ctx.first = eps, first
        y: Tensor = torch.native_batch_norm(x, weight, bias, mean, var, False, 0.0, eps)[0]
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var = ctx.saved_tensors
        dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        # What flows through the statistics, from all rows to the first: (dbias + x^ dweight) weight / (sigma count),
        # x^ = (x - mean) / sigma.
        head = x[: ctx.first]
        inverse = (var + ctx.eps).rsqrt()
        scale = weight * inverse
        slope = scale * inverse * dweight
        shape = (1, -1, *([1] * (x.dim() - 2)))
        offset = torch.addcmul(scale * dbias, slope, mean, value=-1).view(shape)
        through = torch.addcmul(offset, head, slope.view(shape))
        dx[: ctx.first].sub_(through, alpha=x.shape[1] / head.numel())
        return dx, dweight, dbias, None, None, None, None, None
