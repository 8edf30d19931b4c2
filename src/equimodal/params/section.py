"""A section `study` that builds one of `studies`: DVC knows no targets by file pattern, so its study is written out."""

from equimodal.errors import UserError
from equimodal.params.resolve import Params


def study_section(params: Params, name: str) -> str:
    """The section as YAML: the study's datasets, methods by family with what they start from, seeds, and its name.

    Raises:
        UserError: unknown; or a pair of it that its dataset refuses, as `study` takes every method on every dataset.
    """
    found = params.paper_study(name)
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
