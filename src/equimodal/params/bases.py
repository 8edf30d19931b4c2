"""`base` in `datasets`: an entry that names another one and what differs becomes an entry that stands by itself."""

from collections.abc import Mapping
from typing import Any

from equimodal.datasets.registry import KINDS
from equimodal.errors import UserError
from equimodal.settings.base import deep_merge, nearest, shown
from equimodal.settings.features import SpectrogramSettings

LONGEST = 20  # chain of bases


def with_bases(datasets: Any) -> Any:
    """`datasets` of params.yaml with every entry that has a `base` laid over it, along the chain of bases.

    Sections are merged key by key, in the base's order; everything else is replaced. `null` in place of a section of
    the base's takes it away. A modality of another `kind` replaces the base's. A `protocol` or a modality's `preset`
    that a variant names goes over what its base says, below what the variant itself says.

    Raises:
        UserError: an unknown base, a circle of bases, another `kind` than the base's.
    """
    if not isinstance(datasets, Mapping):
        return datasets  # a mistake that reading the sections names
    return {name: with_base(datasets, name) for name in datasets}


def with_base(datasets: Mapping[str, Any], name: str) -> Any:
    """One entry of `datasets`, as `with_bases` has it."""
    chain = base_chain(datasets, name)
    whole = datasets[chain[0]]
    for link in chain[1:]:
        own = datasets[link]
        if not isinstance(whole, Mapping):
            raise UserError(f"params.yaml: datasets.{own['base']} = {shown(whole)}: should be a section (key: value)")
        if own.get("kind", whole.get("kind")) != whole.get("kind"):
            raise UserError(
                f"params.yaml: datasets.{link}.kind = {shown(own['kind'])}, but its base {own['base']} is of kind"
                f" {whole.get('kind')}: a variant is of its base's kind; leave it out, or leave out base"
            )
        whole = _over(whole, _expanded(own, whole))
    return whole


def base_chain(datasets: Mapping[str, Any], name: str) -> list[str]:
    """From the dataset that has no base to `name`."""
    chain = [name]
    while isinstance(entry := datasets[chain[0]], Mapping) and entry.get("base") is not None:
        base = entry["base"]
        if not isinstance(base, str) or base not in datasets:
            raise UserError(
                f"params.yaml: datasets.{chain[0]}.base = {shown(base)} is an unknown dataset"
                + nearest(str(base), list(datasets))
            )
        if base in chain:
            raise UserError(f"params.yaml: datasets.{name}.base goes round in a circle: {' -> '.join([base, *chain])}")
        if len(chain) == LONGEST:
            raise UserError(f"params.yaml: datasets.{name}.base: more than {LONGEST} entries, each based on the next")
        chain.insert(0, base)
    return chain


def _over(below: Mapping[str, Any], above: Mapping[str, Any], modalities: bool = False) -> dict[str, Any]:
    """`above` over `below`, as `with_bases` says; `modalities`: the entries are modalities."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(under, Mapping) and value is None:
            del merged[key]
        elif isinstance(under, Mapping) and isinstance(value, Mapping) and not (modalities and _other(under, value)):
            merged[key] = _over(under, value, key == "modalities")
        else:
            merged[key] = value
    return merged


def _other(under: Mapping[str, Any], modality: Mapping[str, Any]) -> bool:
    """Whether a modality is of another kind of feature than the base's."""
    return "kind" in modality and modality["kind"] != under.get("kind")


def _expanded(own: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """A variant's entry with the protocol and the presets that it names itself written out below its own keys.

    One that is unknown is left to be refused with the rest of the entry.
    """
    expanded = dict(own)
    entry = KINDS.get(str(base.get("kind")))
    protocols = entry.load_settings().protocols if entry else {}
    protocol = own.get("protocol")
    if isinstance(protocol, str) and protocol in protocols:
        expanded = deep_merge(protocols[protocol], own)
    if isinstance(named := expanded.get("modalities"), Mapping):
        known = base.get("modalities")
        kinds = known if isinstance(known, Mapping) else {}
        expanded["modalities"] = {name: _preset(value, kinds.get(name)) for name, value in named.items()}
    return expanded


def _preset(modality: Any, under: Any) -> Any:
    if not isinstance(modality, Mapping) or not isinstance(preset := modality.get("preset"), str):
        return modality
    kind = modality.get("kind", under.get("kind") if isinstance(under, Mapping) else None)
    presets = SpectrogramSettings.presets if kind == "spectrogram" else {}  # the one kind of feature that has any
    return deep_merge(presets.get(preset, {}), modality)
