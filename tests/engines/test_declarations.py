"""Which settings set which stage: exact slices, so that a change reruns what it changes."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from equimodal.engines import declarations
from equimodal.errors import UserError
from equimodal.params import Params, load_params, parse_params


@pytest.fixture(scope="module")
def raw(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "params.yaml").read_text())


def changed(raw: dict[str, Any], values: dict[str, Any]) -> set[str]:
    """Jobs of the cremad study, `stage` or `stage method`,
    whose settings change with params.yaml at `section/key` = value.
    """

    def jobs(params: Params) -> dict[str, str]:
        names = {}
        for stage in declarations.STAGES:
            for method in declarations.study_methods(params, stage):
                for modality in params.dataset("cremad").modalities if stage == "features" else [None]:
                    words = [stage, *(word for word in (method, modality) if word)]
                    names[" ".join(words)] = declarations.settings_json(params, stage, "cremad", method, modality)
        return names

    other = copy.deepcopy(raw)
    for path, value in values.items():
        *parents, last = path.split("/")
        place = other
        for part in parents:
            place = place[part]
        place[last] = value
    before, after = jobs(parse_params(raw)), jobs(parse_params(other))
    return {name for name in before if before[name] != after[name]}


def downstream(method: str) -> set[str]:
    return {f"{stage} {method}" for stage in ("train", "evaluate", "operations", "summary", "cost")}


def test_what_changes_no_result_changes_nothing(raw: dict[str, Any]) -> None:
    assert not changed(
        raw, {"tracking": {"enabled": False}, "runtime/workers": 9, "runtime/resident": "map", "runtime/device": "cpu"}
    )
    assert not changed(
        raw,
        {
            "datasets/grid-x": {
                "kind": "table",
                "root": "x",
                "table": "y",
                "modalities": raw["datasets"]["cremad"]["modalities"],
            }
        },
    )


def test_a_modality_s_settings_set_its_features_only(raw: dict[str, Any]) -> None:
    assert changed(raw, {"datasets/cremad/modalities/audio/noise_snr_db": -10}) == {"features audio"}


def test_the_order_of_modalities_sets_the_manifest_only(raw: dict[str, Any]) -> None:
    audio, visual = raw["datasets"]["cremad"]["modalities"].items()
    assert changed(raw, {"datasets/cremad/modalities": dict([visual, audio])}) == {"manifest"}


def test_a_choice_of_classes_sets_the_index_and_only_where_it_is_made(raw: dict[str, Any]) -> None:
    """What is not chosen leaves no trace: earlier results keep their keys."""
    assert changed(raw, {"datasets/cremad/missing_classes": "drop"}) == {"index"}
    assert changed(raw, {"datasets/cremad/classes": ["ANG", "SAD"]}) == {"raw", "index"}  # what a download fetches
    assert not changed(raw, {"datasets/cremad/missing_classes": "refuse", "datasets/cremad/classes": None})


def test_the_split_sets_the_index_and_the_sample_the_raw_files(raw: dict[str, Any]) -> None:
    assert changed(raw, {"datasets/cremad/split/fold": 1}) == {"index"}
    assert changed(raw, {"datasets/cremad/sample/seed": 1}) == {"raw", "index"}
    assert changed(raw, {"datasets/cremad/max_rejected": 0.5, "datasets/cremad/missing": "zero"}) == {
        "index",
        "manifest",
    }
    assert changed(raw, {"datasets/cremad/raw": "elsewhere"}) == {"raw", "index"}


def test_a_variant_s_settings_set_its_own_stages(raw: dict[str, Any]) -> None:
    assert changed(raw, {"methods/aim-no-pam": {"base": "aim", "pam": False, "lambda_mod": 2.0}}) == downstream(
        "aim-no-pam"
    )


def test_a_base_s_settings_set_its_variants_too(raw: dict[str, Any]) -> None:
    assert changed(raw, {"methods/aim/lambda_mod": 9.0}) == downstream("aim") | downstream("aim-no-pam")
    assert changed(raw, {"methods/aim/dap/steps": 9}) == downstream("aim") | downstream("aim-no-pam") | {
        "prototypes aim"
    }
    assert changed(raw, {"datasets/cremad/methods": {"aim": {"start_epoch": 4}}}) == downstream("aim") | downstream(
        "aim-no-pam"
    ) | {
        "warmup aim",
        "prototypes aim",
    }


def test_training_settings_set_every_training(raw: dict[str, Any]) -> None:
    names = changed(raw, {"datasets/cremad/training/epochs": 16})
    assert {name.split()[0] for name in names} == {
        "warmup",
        "prototypes",
        "train",
        "evaluate",
        "operations",
        "summary",
        "reference",
        "cost",
    }


def test_start_weights_set_their_stage_and_every_training(raw: dict[str, Any]) -> None:
    trained = {"warmup", "prototypes", "train", "evaluate", "operations", "summary", "reference", "cost"}
    assert {name.split()[0] for name in changed(raw, {"model/weights": "a.pth"})} == {"weights", *trained}
    other = copy.deepcopy(raw)
    other["model"]["weights"] = "a.pth"
    assert changed(other, {"model/weights": "b.pth"}) == {"weights"}, "what is in the file counts, not its name"
    assert {name.split()[0] for name in changed(other, {"model/weights_for": ["audio"]})} == trained
    assert parse_params({**other, "model": {**other["model"], "weights_for": ["audio"]}}).weights_of("mosi") is None, (
        "a sequence there"
    )
    assert not changed(raw, {"model/weights_for": ["audio"]}), "without weights it says nothing"


def test_the_settings_of_a_model_without_weights_do_not_name_them(raw: dict[str, Any]) -> None:
    params = parse_params(raw)
    assert not [
        key for key in declarations.settings(params, "train", "cremad", "joint")["model"] if key.startswith("weights")
    ]
    assert declarations.weights_file(params, "cremad") == []


def test_only_a_file_that_is_there_is_an_input(raw: dict[str, Any], tmp_path: Path) -> None:
    other = copy.deepcopy(raw)
    other["datasets"]["cremad"]["model"]["weights"] = str(tmp_path / "a.pth")
    params = parse_params(other)
    assert declarations.weights_file(params, "cremad") == []
    (tmp_path / "a.pth").touch()
    assert (
        declarations.weights_file(params, "cremad") == [str(tmp_path / "a.pth")]
        and declarations.weights_file(params, "grid-words") == []
    )


def test_seeds_set_summaries_and_figures(raw: dict[str, Any]) -> None:
    assert {name.split()[0] for name in changed(raw, {"study/seeds": [0, 1]})} == {"summary", "figures"}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            "results/cremat_aim.json",
            "unknown dataset 'cremat' in results/cremat_aim.json; params.yaml has: cremad, grid-digit",
        ),
        (
            "results/cremad_aimm.json",
            "unknown method 'aimm' in results/cremad_aimm.json; params.yaml has: agm, aim, aim-aux-only",
        ),
        ("results/cremad.json", "is no result: a result is called results/DATASET_METHOD.json"),
        ("results/figures/cremad_ami", "unknown method 'ami' in results/figures/cremad_ami"),
        ("results/tables/cremat.html", "unknown dataset 'cremat' in results/tables/cremat.html"),
        ("results/paper/tabel2.md", "unknown study 'tabel2' in results/paper/tabel2.md; params.yaml has: figure1"),
        ("results/paper/table2.pdf", "results/paper/table2.pdf: the files of study 'table2' are table2.md, table2.csv"),
        ("results/paper/table2", "results/paper/table2: the files of study 'table2' are table2.md"),
        ("results/cost/cremad_aimm.json", "unknown method 'aimm' in results/cost/cremad_aimm.json"),
        ("results/cost/reference/cremat.json", "unknown dataset 'cremat' in results/cost/reference/cremat.json"),
        ("models/cremad/aimm/operations.json", "unknown method 'aimm' in models/cremad/aimm/operations.json"),
        ("./results/cremad_aimm.json", "unknown method 'aimm' in ./results/cremad_aimm.json"),
        ("models/cremad/aimm/0/val.safetensors", "unknown method 'aimm' in models/cremad/aimm/0/val.safetensors"),
        ("models/cremat/aim/0/curves.json", "unknown dataset 'cremat' in models/cremat/aim/0/curves.json"),
        ("data/cremat/features/audio.npy", "unknown dataset 'cremat' in data/cremat/features/audio.npy"),
        ("data/cremat/index.json", "unknown dataset 'cremat' in data/cremat/index.json"),
    ],
)
def test_an_unknown_target_is_one_line_with_the_valid_names(root: Path, target: str, said: str) -> None:
    params = load_params(root / "params.yaml")
    with pytest.raises(UserError) as caught:
        declarations.check_targets(params, ["--cores", "4", "--", target])
    assert said in str(caught.value)


def test_a_result_of_a_modality_that_the_dataset_lacks_is_refused(raw: dict[str, Any]) -> None:
    changed = copy.deepcopy(raw)
    changed["methods"]["flow"] = {"base": "unimodal", "modality": "flow"}
    with pytest.raises(UserError, match=r"method 'flow' reads modality 'flow' .* grid-words has: audio, visual"):
        declarations.check_targets(parse_params(changed), ["results/grid-words_flow.json"])


def test_aim_with_one_modality_is_refused(raw: dict[str, Any]) -> None:
    changed = copy.deepcopy(raw)
    changed["datasets"]["grid-digit"]["modalities"]["audio"] = None
    with pytest.raises(
        UserError, match="method 'aim-no-pam' balances modalities and needs two or more; grid-digit has: visual"
    ):
        declarations.check_targets(parse_params(changed), ["results/grid-digit_aim-no-pam.json"])


def test_good_targets_and_other_words_pass(root: Path) -> None:
    params = load_params(root / "params.yaml")
    words = [
        "results/cremad_aim-no-dam.json",
        "results/figures/grid-words_joint",
        "results/tables/cremad.md",
        "results/tables/comparison.tex",
        "results/paper/table2.tex",
        "results/paper/figure7.pdf",
        "results/cost/reference/cremad.json",
        "models/cremad/aim/operations.json",
        "study",
        "models/cremad/aim/0/curves.json",
        "-n",
    ]
    words += [
        "models/cremad/warmup/0/aim.safetensors",
        "data/cremad/raw/manifest.json",
        "data/cremad/index.json",
        "logs/notes.json",
    ]
    declarations.check_targets(params, words)
