"""Rejected samples as a message tells them: each unreadable file once, whatever reads it."""

from collections.abc import Iterable, Mapping
from typing import Any

from equimodal.datasets.base import some_of

# Samples named of one file.
NAMED = 3


def told(rejected: Iterable[Mapping[str, Any]]) -> list[str]:
    """One line for each file and reason, in the order of their first entries.

    Args:
        rejected: an entry for each sample and modality: `id`, `reason`, `modality` (None: not of one modality) and,
            where there is one, the `path` of the file.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in rejected:
        path = entry.get("path")
        groups.setdefault((f"file {path}" if path else f"sample {entry['id']}", entry["reason"]), []).append(entry)
    return [_line(entries) for entries in groups.values()]


def _line(entries: list[Mapping[str, Any]]) -> str:
    first = entries[0]
    ids = list(dict.fromkeys(entry["id"] for entry in entries))
    modalities = dict.fromkeys(entry["modality"] for entry in entries if entry["modality"])
    samples = ids[0] if len(ids) == 1 else f"{len(ids)} samples ({some_of(ids, NAMED)})"
    where = first.get("path") or ", ".join(modalities)
    return f"{samples}: {f'{where}: ' if where else ''}{first['reason']}"
