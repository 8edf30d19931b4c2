"""The pages of the methods name every setting, with its default, and commands that work."""

import re
from pathlib import Path

import pytest
import yaml

from equimodal.engines.declarations import check_targets
from equimodal.methods.registry import METHODS
from equimodal.params import parse_params

PAGES = [name for name in METHODS if name != "aim"]  # whose page has its settings in another form


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_every_setting(root: Path, name: str) -> None:
    text = (root / "docs" / "methods" / f"{name}.md").read_text(encoding="utf-8")
    own = set(METHODS[name].load_settings().model_fields) - {"preset"}
    rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in text.splitlines() if line.startswith("| `")]
    assert own == {key for row in rows for key in row}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_s_commands_name_what_there_is(root: Path, name: str) -> None:
    params = parse_params(yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8")))
    lines = [
        line.split()
        for line in (root / "docs" / "methods" / f"{name}.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("    snakemake")
    ]
    assert lines
    for words in lines:
        check_targets(params, words)


def test_alphas_of_the_datasets_are_those_of_the_page(root: Path) -> None:
    params = parse_params(yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8")))
    found = {
        dataset: params.method(dataset, "ogm-ge").settings.slice()["alpha"]
        for dataset in ("cremad", "ks", "ucf101", "mosi")
    }
    assert found == {"cremad": 0.8, "ks": 0.8, "ucf101": 1.5, "mosi": 0.8}
