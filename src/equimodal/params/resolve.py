"""params.yaml as typed, resolved settings. Cheap to import: no torch, no media libraries."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union

from pydantic import Field, PrivateAttr

from equimodal.datasets.registry import KINDS
from equimodal.errors import UserError
from equimodal.methods.registry import METHODS, Family
from equimodal.models.registry import choose, used_settings
from equimodal.params import places
from equimodal.params.bases import LONGEST
from equimodal.params.resolved import ResolvedMethod, Weights
from equimodal.settings.base import Settings, deep_merge, hint, layered, nearest, shown
from equimodal.settings.datasets import DatasetSettings, Name
from equimodal.settings.method import WarmupSettings
from equimodal.settings.studies import PaperStudySettings
from equimodal.settings.training import (
    ModelSettings,
    RuntimeSettings,
    StudySettings,
    TrackingSettings,
    TrainingSettings,
)
from equimodal.settings.tuning import TuningSettings

if TYPE_CHECKING:
    Dataset = DatasetSettings
else:
    Dataset = Annotated[Union[tuple(entry.load_settings() for entry in KINDS.values())], Field(discriminator="kind")]  # noqa: UP007  # a list, not names

Section = TypeVar("Section", bound=Settings)


class Params(Settings):
    """The whole of params.yaml."""

    study: StudySettings
    runtime: RuntimeSettings = RuntimeSettings()
    tracking: TrackingSettings = TrackingSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    datasets: dict[Name, Dataset] = Field(description="name -> a dataset; a variant names its `base` and what differs")
    methods: dict[Name, dict[str, Any]] = Field(
        description="name -> settings; a variant names its `base` and what differs"
    )
    tuning: TuningSettings = TuningSettings()
    studies: dict[Name, PaperStudySettings] = Field({}, description="name -> a table or a figure of results/paper")
    _broken: dict[str, str] = PrivateAttr(default_factory=dict)
    _written: Mapping[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def written(self) -> Mapping[str, Any]:
        """Section `datasets` as params.yaml has it, before any `base`."""
        return self._written

    @property
    def broken(self) -> dict[str, str]:
        """Datasets whose entry has a mistake, with the mistake: they are not in `datasets`, and nobody else minds."""
        return self._broken

    def without_broken(self, broken: Mapping[str, str], written: Mapping[str, Any]) -> "Params":
        """The same without these datasets."""
        kept = {name: settings for name, settings in self.datasets.items() if name not in broken}
        params = self.model_copy(update={"datasets": kept})
        params._broken, params._written = dict(broken), written
        return params

    @property
    def first(self) -> str:
        """The first dataset of the study that is not broken, else of all: for what is asked of a method by itself."""
        return next(name for name in (*self.study.datasets, *self.datasets) if name in self.datasets)

    def dataset(self, name: str) -> Dataset:
        """Settings of one dataset; an unknown name is a UserError that lists the valid ones, and so is the mistake of a
        broken one.
        """
        if name in self._broken:
            raise UserError(self._broken[name])
        if name not in self.datasets:
            raise UserError(
                f"unknown dataset '{name}'; params.yaml has: {', '.join(sorted(self.datasets))}"
                + hint(name, list(self.datasets))
            )
        return self.datasets[name]

    def model_of(self, dataset: str) -> ModelSettings:
        """Section `model` with the dataset's overrides."""
        return self._section(ModelSettings, self.model, self.dataset(dataset).model, dataset, "model")

    def _section(
        self, kind: type[Section], shared: Section, own: Mapping[str, Any], dataset: str, section: str
    ) -> Section:
        where = f"datasets.{dataset}.{section}"
        merged = layered(kind, [(section, shared.slice()), (where, own)])
        return kind.read(merged, where, lambda: places.of_dataset(self, dataset, section))

    def model_slice(self, dataset: str) -> dict[str, Any]:
        """Of the section `model` what sets this dataset's models:
        no encoder's settings that it does not use, nothing null or empty.

        Of `weights` only who starts from them: which they are, data/D/weights.safetensors says.
        """
        used = used_settings(self.model_of(dataset).slice(), self._kinds(dataset))
        start = self.weights_of(dataset)
        others = {key: value for key, value in used.items() if key not in ("weights", "weights_for")}
        return others if start is None else {**others, "weights": {"modalities": list(start.modalities)}}

    def encoders_of(self, dataset: str) -> dict[str, str]:
        """Modality -> encoder, a name of models/registry.py;
        a UserError for one that cannot read the modality's features.
        """
        kinds, model = self._kinds(dataset), self.model_of(dataset)
        for modality in self.dataset(dataset).model.get("encoders", {}):
            if modality not in kinds:
                raise UserError(
                    f"params.yaml: {places.place(self, dataset, 'model', 'encoders')} names '{modality}';"
                    f" {dataset} has: {', '.join(kinds)}"
                )
        return choose(kinds, model.encoders)

    def _kinds(self, dataset: str) -> dict[str, str]:
        return {name: feature.kind for name, feature in self.dataset(dataset).modalities.items()}

    def weights_of(self, dataset: str) -> Weights | None:
        """What this dataset's encoders start from; None: from random numbers,
        also when no modality is one of frames or flow.
        """
        model = self.model_of(dataset)
        if model.weights is None:
            return None
        kinds = self._kinds(dataset)
        able = [name for name, encoder in self.encoders_of(dataset).items() if encoder == "resnet"]
        wanted = (
            [name for name in able if kinds[name] in ("frames", "flow")]
            if model.weights_for is None
            else model.weights_for
        )
        own = "weights_for" in self.dataset(dataset).model  # the section `model` may name modalities of other datasets
        for name in wanted if own else ():
            if name not in able:
                why = "its encoder is no resnet" if name in kinds else f"{dataset} has: {', '.join(kinds)}"
                raise UserError(
                    f"params.yaml: {places.place(self, dataset, 'model', 'weights_for')} names '{name}', but {why}"
                )
        names = [name for name in wanted if name in able]
        if model.weights == "download" and names and (model.width, model.layers) != (64, (2, 2, 2, 2)):
            shape = f"width: {model.width}, layers: {list(model.layers)}"
            raise UserError(
                f"params.yaml: datasets.{dataset}.model has weights: download, a ResNet18 (width: 64, layers:"
                f" [2, 2, 2, 2]), and {shape}"
            )
        return Weights(model.weights, tuple(names)) if names else None

    def training_of(self, dataset: str) -> TrainingSettings:
        """Section `training` with the dataset's overrides."""
        return self._section(TrainingSettings, self.training, self.dataset(dataset).training, dataset, "training")

    def method(self, dataset: str, name: str) -> ResolvedMethod:
        """One method's settings on one dataset: along its base chain, each method's own and then the dataset's
        overrides of it.
        """
        chain = self.chain(name)
        kind = chain[0]
        entry = METHODS[kind]
        overrides = self.dataset(dataset).methods
        layers = [
            (where, {key: value for key, value in layer.items() if key != "base"})
            for link in chain
            for where, layer in (
                (f"methods.{link}", self.methods.get(link, {})),
                (f"datasets.{dataset}.methods.{link}", overrides.get(link, {})),
            )
        ]
        model = entry.load_settings()
        read = model.read(layered(model, layers), f"methods.{name}", lambda: places.of_method(self, dataset, name))
        return ResolvedMethod(name, kind, entry, read)

    def search_of(self, method: str) -> dict[str, list[Any]]:
        """Setting -> values that tuning chooses from: the method's own entry of `tuning.search`, or the nearest of its
        base chain; {} without any.
        """
        for link in reversed(self.chain(method)):
            if link in self.tuning.search:
                return self.tuning.search[link]
        return {}

    def with_method(self, dataset: str, method: str, values: Mapping[str, Any]) -> "Params":
        """The same with other settings of one method on one dataset."""
        data = self.dataset(dataset)
        methods = deep_merge(data.methods, {method: dict(values)})
        return self.model_copy(
            update={"datasets": {**self.datasets, dataset: data.model_copy(update={"methods": methods})}}
        )

    def check_pair(self, dataset: str, method: str) -> None:
        """Refuse a method on data that it cannot work with (`MethodSettings.refusal`), one whose warm-up takes every
        epoch, or one that starts from models of one modality that no method trains.
        """
        resolved, data = self.method(dataset, method), self.dataset(dataset)
        why = resolved.settings.refusal(method, dataset, list(data.modalities), data.task)
        if why is not None:
            # a method's settings know their names, not where their values stand
            keys = re.compile(rf"\bmethods\.{method}\.([a-z_]+)")
            raise UserError(keys.sub(lambda found: places.key(self, dataset, method, found[1]), why))
        settings, epochs = resolved.settings, self.training_of(dataset).epochs
        if isinstance(settings, WarmupSettings) and settings.start_epoch >= epochs:
            raise UserError(
                f"params.yaml: {places.key(self, dataset, method, 'start_epoch')} = {settings.start_epoch} leaves no"
                f" epoch for modulation: {dataset} trains {epochs} (training.epochs); lower start_epoch or raise epochs"
            )
        if resolved.entry.family == "from-unimodal":
            self.unimodal_of(dataset)

    def starts_of(self, dataset: str, method: str) -> list[tuple[str, str]]:
        """What a study must list for a method to start from: (key of `study`, method)."""
        family = self.family(method)
        if family == "from-warmup":
            return [("warmups", self.warmup_of(dataset, method)), ("fits", self.fit_of(dataset, method))]
        if family == "from-unimodal":
            names = self.unimodal_of(dataset).values()
            return [(key, name) for key in ("from-scratch", "unimodal") for name in names]
        return []

    def unimodal_of(self, dataset: str) -> dict[str, str]:
        """Modality -> the method of params.yaml that trains it alone, the first with no other difference; what methods
        of family from-unimodal start from.

        Raises:
            UserError: a modality that no method trains alone.
        """
        found: dict[str, str] = {}
        for name in self.method_names:
            if self.chain(name)[0] == "unimodal":
                found.setdefault(self.method(dataset, name).settings.slice()["modality"], name)
        for modality in self.dataset(dataset).modalities:
            if modality not in found:
                raise UserError(
                    f"params.yaml: no method trains modality '{modality}' of {dataset} alone: add one to `methods`,"
                    f" as {modality}: {{base: unimodal, modality: {modality}}}"
                )
        return {modality: found[modality] for modality in self.dataset(dataset).modalities}

    @property
    def method_names(self) -> list[str]:
        """Every method that can be asked for: those of params.yaml, and the registered ones that need no settings."""
        free = [
            name for name, entry in METHODS.items() if name not in self.methods and entry.load_settings().complete()
        ]
        return [*self.methods, *free]

    def warmup_of(self, dataset: str, method: str) -> str:
        """Whose warm-up a from-warmup method shares: the first of its base chain with the same start epoch."""
        return self._owner(dataset, method, lambda settings: {"start_epoch": settings.start_epoch})

    def fit_of(self, dataset: str, method: str) -> str:
        """Whose prototypes a from-warmup method shares: the first of its base chain whose `fit` covers its own."""
        return self._owner(dataset, method, lambda settings: settings.fit)

    def _owner(self, dataset: str, method: str, what: Callable[[WarmupSettings], dict[str, Any]]) -> str:
        wanted = what(self.method(dataset, method).warm).items()
        links = ((link, what(self.method(dataset, link).warm)) for link in self.chain(method))
        return next(link for link, found in links if all(found.get(name) == value for name, value in wanted))

    def family(self, name: str) -> Family:
        """What a method is trained from, on every dataset."""
        return METHODS[self.chain(name)[0]].family

    def chain(self, name: str) -> list[str]:
        """From the registered method to `name`, following `base`."""
        chain = [name]
        while (link := chain[0]) in self.methods:
            base = self.methods[link].get("base")
            if base is None:
                break
            if not isinstance(base, str) or (base not in self.methods and base not in METHODS):
                raise UserError(
                    f"params.yaml: methods.{link}.base = {shown(base)} is an unknown method"
                    + nearest(str(base), [*self.methods, *METHODS])
                )
            if base in chain:
                raise UserError(
                    f"params.yaml: methods.{name}.base goes round in a circle: {' -> '.join([base, *chain])}"
                )
            if len(chain) == LONGEST:
                raise UserError(
                    f"params.yaml: methods.{name}.base: more than {LONGEST} entries, each based on the next"
                )
            chain.insert(0, base)
        if chain[0] in METHODS:
            return chain
        if chain[0] in self.methods:
            raise UserError(
                f"params.yaml: methods.{chain[0]} is not a registered method: name its `base` ({', '.join(METHODS)})"
            )
        raise UserError(
            f"unknown method '{chain[0]}'; params.yaml has: {', '.join(sorted(self.methods))}"
            + hint(chain[0], list(self.methods))
        )
