"""The folder in which a run waits to be taken up after a kill: its state, and the weights that are chosen so far."""

from pathlib import Path
from typing import Any

from torch import Tensor

from equimodal.errors import UserError
from equimodal.store import file_sha256, read_tensors


class Checkpoint:
    """Files of one run.

    Args:
        folder: .checkpoints/<stage key>/.
        key: digest of everything that determines the run.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key
        self.state = folder / "state.safetensors"

    def chosen(self, rule: str, epoch: int) -> Path:
        """Where the weights wait that a selection rule chose after an epoch.

        By epoch, so that a kill before the state is written leaves the weights that the state before it means.
        """
        return self.folder / f"{rule}-{epoch}.safetensors"

    def keep(self, selected: dict[str, int]) -> None:
        """Delete the weights that were chosen before those: rule -> epoch."""
        for rule, epoch in selected.items():
            for path in self.folder.glob(f"{rule}-*.safetensors"):
                if path != self.chosen(rule, epoch):
                    path.unlink()

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and facts of the state; None if it is another run's.

        Raises:
            UserError: it is damaged, or the weights chosen so far are.
        """
        tensors, meta = read_tensors(self.state, sealed=True)
        if meta["key"] != self.key:
            return None
        for rule, sha256 in meta["weights"].items():
            path = self.chosen(rule, meta["selected"][rule])
            if not path.is_file() or file_sha256(path) != sha256:
                raise UserError(f"{path} is missing or damaged")
        return tensors, meta
