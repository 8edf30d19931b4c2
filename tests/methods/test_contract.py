"""What every method owes the workbench, for all methods of params.yaml, variants included:
a new one is tested without a line here.
"""

import copy
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

import tiny_dataset
from equimodal.engines.layout import fit_path, model_folder, unimodal_path, warmup_path
from equimodal.inference.model import load
from equimodal.methods.registry import METHODS
from equimodal.params import Params, parse_params
from equimodal.settings.base import deep_merge
from equimodal.stages import prototypes, train, unimodal, warmup
from equimodal.stages.setup import Setup
from equimodal.store import read_json, read_tensors
from equimodal.training.measure import measures, predict

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["methods"]
# Those of params.yaml, and every registered one that needs no entry there.
RAW = ENTRIES | {
    name: {} for name, entry in METHODS.items() if name not in ENTRIES and entry.load_settings().complete()
}
FILES = ("val.safetensors", "last.safetensors", "test.safetensors", "curves.json")


def params(third: bool | tuple[str, ...] = False) -> Params:
    """The tiny dataset with the methods of params.yaml, AIM's stages cut short as tiny_dataset does."""
    raw = tiny_dataset.raw_params(third)
    raw["methods"] = deep_merge(copy.deepcopy(RAW), raw["methods"])
    here = raw["datasets"]["tiny"]["modalities"]
    for own in raw["methods"].values():
        if own.get("start_epoch", 0) > 1:
            own["start_epoch"] = 1  # of three epochs
        if own.get("modality", "visual") not in here and "visual" in here:
            own["modality"] = "visual"  # a single modality of another dataset: its contract is the same
    for modality in here:  # what methods of family from-unimodal start from
        raw["methods"].setdefault(modality, {"base": "unimodal", "modality": modality})
    return parse_params(raw)


@pytest.fixture(scope="module")
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Params]]:
    folder = tmp_path_factory.mktemp("contract")
    tiny_dataset.write(folder, third=request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder, params(request.param)


def trained(params: Params, name: str) -> Path:
    """Train a method through its stages, with what it shares; returns its folder."""
    if params.family(name) == "from-warmup":
        start, fit = params.warmup_of("tiny", name), params.fit_of("tiny", name)
        if not warmup_path("tiny", start, 0).is_file():
            warmup.run(params, "tiny", start, 0)
        if not fit_path("tiny", fit, 0).is_file():
            prototypes.run(params, "tiny", fit, 0)
    if params.family(name) == "from-unimodal":
        for alone in params.unimodal_of("tiny").values():
            if not unimodal_path("tiny", alone, 0).is_file():
                train.run(params, "tiny", alone, 0)
                unimodal.run(params, "tiny", alone, 0)
    train.run(params, "tiny", name, 0)
    return model_folder("tiny", name, 0)


def test_every_registered_method_is_reachable() -> None:
    checked = params()
    assert {checked.method("tiny", name).kind for name in checked.method_names} == set(METHODS)


SEQUENCES = ("text", "face", "facts")  # two transformers and an MLP
OWN = [name for name, own in RAW.items() if "base" not in own]
CASES = [(False, name) for name in RAW] + [(three, name) for three in (True, SEQUENCES) for name in OWN]
# Methods whose own tests train on no three modalities and on no sequences.
WIDE = ("joint", "joint-uni", "deep-uni", "aim-means", "finetune", "g-blending", "aim")


def quick(three: bool | tuple[str, ...], name: str) -> bool:
    """Whether it is in the fast suite: each method once; a variant is that method with other settings."""
    return name in WIDE if three else name in OWN or name == "audio"


MARKED = [pytest.param(*case, marks=[] if quick(*case) else pytest.mark.slow) for case in CASES]
IDS = [f"{name}-{2 if not three else 'sequences' if three == SEQUENCES else 3}" for three, name in CASES]


@pytest.mark.parametrize(("root", "name"), MARKED, ids=IDS, indirect=["root"])
def test_a_method_keeps_the_contract(root: tuple[Path, Params], name: str) -> None:
    _, params = root
    folder = trained(params, name)

    setup = Setup.open(params, "tiny", name, 0)
    curves = read_json(folder / "curves.json")
    assert [entry["epoch"] for entry in curves["epochs"]] == list(range(setup.epochs))
    for entry in curves["epochs"]:
        assert math.isfinite(entry["metrics"]["train/loss"]) and None not in entry["metrics"].values()
    assert set(curves["selected"]) == {"val", "last", "test"} and curves["meta"]["method"] == name

    plain = {key: value.shape for key, value in setup.model().state_dict().items()}
    for rule in ("val", "last", "test"):
        tensors, meta = read_tensors(folder / f"{rule}.safetensors")
        model = setup.model(meta["structure"])
        if not meta["structure"]:
            assert {key: value.shape for key, value in tensors.items()} == plain  # no trace of the method
        model.load_state_dict(tensors)
        assert all(value.isfinite().all() for value in tensors.values()) and meta["epoch"] == curves["selected"][rule]
        for split in ("val", "test"):
            found = measures(predict(model, setup.data, split, 32), setup.data.objective, split)  # type: ignore[arg-type]
            saved = curves["epochs"][meta["epoch"]]["metrics"]
            assert {key: saved[key] for key in found} == found  # loading gives the very model that was measured

    used = load(folder / "val.safetensors")  # what the file says of itself is enough to use it
    tensors, meta = read_tensors(folder / "val.safetensors")
    model = setup.model(meta["structure"]).eval()
    model.load_state_dict(tensors)
    inputs, _ = next(setup.data.evaluation_batches("test", 4))
    with torch.no_grad():
        wanted = setup.data.objective.scores(model.predict(inputs).logits)
        assert torch.equal(used.objective.scores(used.members[0].predict(inputs).logits), wanted)
    assert used.modalities == model.modalities

    first = {file: (folder / file).read_bytes() for file in FILES}
    torch.rand(3)
    trained(params, name)
    assert {file: (folder / file).read_bytes() for file in FILES} == first
    assert not Path(".checkpoints", f"train-tiny-{name}-0").exists()
