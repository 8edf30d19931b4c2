"""Random generators derived from (seed, purpose, epoch):
nothing to save, so a resumed run draws what an unbroken one would.
"""

import hashlib

import torch


def derive(seed: int, *parts: object) -> int:
    """A 63-bit seed from a run's seed and what it is for. Independent of the platform and of Python's hash seed."""
    text = "/".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *parts: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded by `derive`."""
    made = torch.Generator(device=device)
    made.manual_seed(derive(seed, *parts))
    return made
