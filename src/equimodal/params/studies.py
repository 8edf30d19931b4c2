"""Studies of section `studies`: the pairs that a table or figure is drawn from; one written out as a section `study`,
since DVC knows no targets by file pattern.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from equimodal.errors import UserError
from equimodal.params.resolve import Params
from equimodal.settings.base import hint
from equimodal.settings.studies import PaperStudySettings


@dataclass(frozen=True)
class PaperStudy:
    """A table or figure of results/paper.

    Attributes:
        pairs: (dataset, method), datasets first.
        refused: why the other pairs are left out, in one line each.
    """

    name: str
    settings: PaperStudySettings
    seeds: list[int]
    pairs: list[tuple[str, str]]
    refused: list[str]


def paper_study(params: Params, name: str) -> PaperStudy:
    """One of `studies` with the pairs that it is drawn from; an unknown name is a UserError with the valid ones."""
    if name not in params.studies:
        has = ", ".join(sorted(params.studies)) or "none"
        raise UserError(f"unknown study '{name}'; params.yaml has: {has}" + hint(name, list(params.studies)))
    study = params.studies[name]
    for dataset in study.datasets:
        params.dataset(dataset)  # one that is broken is no refusal of a pair
    judged = list(judged_pairs(params, study))
    pairs = [pair for pair, why in judged if why is None]
    refused = [why for _, why in judged if why is not None]
    return PaperStudy(name, study, study.seeds or list(params.study.seeds), pairs, refused)


def judged_pairs(params: Params, study: PaperStudySettings) -> Iterator[tuple[tuple[str, str], str | None]]:
    """Every (dataset, method) of a study, and why the dataset refuses the method, if it does."""
    for dataset in study.datasets:
        for method in study.methods:
            try:
                params.check_pair(dataset, method)
            except UserError as error:
                yield (dataset, method), str(error)
            else:
                yield (dataset, method), None


def study_section(params: Params, name: str) -> str:
    """The section as YAML: the study's datasets, methods by family with what they start from, seeds, and its name.

    Raises:
        UserError: unknown; or a pair of it that its dataset refuses, as `study` takes every method on every dataset.
    """
    found = paper_study(params, name)
    if found.refused:
        raise UserError(
            f"studies.{name} leaves out pairs ({found.refused[0]}), and `study` takes every method on every dataset:"
            f" build it by snakemake --cores 4 -- results/paper/{name}.{found.settings.endings[0]}"
        )
    lists: dict[str, list[str]] = {
        key: [] for key in ("from-scratch", "from-warmup", "from-unimodal", "unimodal", "warmups", "fits")
    }
    for method in found.settings.methods:
        lists[params.family(method)].append(method)
    for dataset, method in found.pairs:
        for key, needed in params.starts_of(dataset, method):
            if needed not in lists[key]:
                lists[key].append(needed)
    kind = "tables" if found.settings.is_table else "figures"
    rows = {"datasets": found.settings.datasets, **lists, "seeds": list(map(str, found.seeds)), kind: [name]}
    return "study:\n" + "".join(f"  {key}: [{', '.join(values)}]\n" for key, values in rows.items())
