"""Peak memory of a computation, from its tensors: what a machine's allocator and other work cannot change."""

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary


class LiveTensors(TorchDispatchMode):
    """Bytes of the tensors that live, and their highest sum, while it is entered:
    `with LiveTensors() as memory: ...; memory.peak`.

    Counts storages, so that views cost nothing, from the operation that makes one until its memory is freed: weights,
    gradients, optimizer state and what the backward pass keeps. Scratch memory inside an operation does not count.
    Tensors made before are counted after `track`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known = WeakIdKeyDictionary()

    def track(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that were made outside."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage not in self._known:
                size = storage.nbytes()
                self._known[storage] = size
                weakref.finalize(storage, self._freed, size)
                self.live += size
                self.peak = max(self.peak, self.live)

    def restart(self) -> None:
        """Forget the peak so far."""
        self.peak = self.live

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.track(leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor))
        return out

    def _freed(self, size: int) -> None:
        self.live -= size
