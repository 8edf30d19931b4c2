"""CMU-MOSI as a dataset: its sample, a user's copy, label rules, splits, and what is left out and why."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from equimodal.datasets.mosi import sample as mosi_sample
from equimodal.datasets.mosi.settings import MosiSample, MosiSettings
from equimodal.engines import declarations
from equimodal.errors import UserError
from equimodal.params import Params
from equimodal.stages import features, index, manifest, raw
from lfs_server import serving
from small_datasets import params_of

SMALL: dict[str, Any] = {"videos": 8, "segments": 6, "lengths": {"text": 5, "audio": 9, "vision": 7}}
BASE: dict[str, Any] = {
    "kind": "mosi",
    "sample": SMALL,
    "modalities": {
        "text": {"kind": "sequence", "length": 5, "width": 300, "nonfinite": "zero"},
        "audio": {"kind": "sequence", "length": 8, "width": 74, "nonfinite": "zero"},
        "visual": {"kind": "sequence", "length": 7, "width": 35, "nonfinite": "zero"},
    },
}


def listed(params: Params) -> dict[str, Any]:
    raw.run(params, "d")
    index.run(params, "d")
    return json.loads(Path("data/d/index.json").read_text())


def built(params: Params) -> dict[str, Any]:
    listed(params)
    for modality in params.dataset("d").modalities:
        features.run(params, "d", modality)
    manifest.run(params, "d")
    return json.loads(Path("data/d/manifest.json").read_text())


def packaging(path: Path, change: Any = lambda content: None) -> None:
    """The sample as a user's copy, changed by `change`."""
    mosi_sample.write(path, MosiSample(**SMALL))
    content = pickle.loads(path.read_bytes())
    change(content)
    path.write_bytes(pickle.dumps(content, 2))


def test_the_sample_is_a_packaging_that_the_reader_reads(project: Path) -> None:
    found = built(params_of(BASE))
    assert (found["source"], found["classes"]) == ("sample", ["negative", "nonnegative"])
    assert len(found["ids"]) == 48 and found["split"]["rule"] == "column"
    assert {split: found["splits"].count(split) for split in ("train", "val", "test")} == {
        "train": 30,
        "val": 6,
        "test": 12,
    }
    content = pickle.loads(Path("data/d/raw/mosi_sample.pkl").read_bytes())
    row = found["ids"].index("sample000[0]")
    length = int((content["train"]["text"][0] != 0).any(1).sum())
    assert found["modalities"]["text"]["lengths"][row] == length
    np.testing.assert_array_equal(
        np.load("data/d/features/text.npy")[row, :length], content["train"]["text"][0, -length:]
    )
    lengths = {name: entry["lengths"] for name, entry in found["modalities"].items()}
    assert lengths["text"] != lengths["audio"] != lengths["visual"] and max(lengths["audio"]) == 8
    notes = found["modalities"]["audio"]["notes"]
    assert (notes["nonfinite_samples"], notes["nonfinite_values"]) == (8, 16) and notes["cut_samples"] > 0


def test_the_sample_is_the_same_bytes_each_time(project: Path) -> None:
    mosi_sample.write(Path("a.pkl"), MosiSample(**SMALL))
    mosi_sample.write(Path("b.pkl"), MosiSample(**SMALL))
    assert Path("a.pkl").read_bytes() == Path("b.pkl").read_bytes()
    mosi_sample.write(Path("b.pkl"), MosiSample(**SMALL, seed=1))
    assert Path("a.pkl").read_bytes() != Path("b.pkl").read_bytes()


def zeros(content: dict[str, Any]) -> None:
    """Three labels of zero, and none besides."""
    for fields in content.values():
        fields["regression_labels"][fields["regression_labels"] == 0] = 1
    content["train"]["regression_labels"][:3] = 0


@pytest.mark.parametrize(
    ("rule", "classes", "zero"),
    [
        ("nonneg", ["negative", "nonnegative"], 1),
        ("positive", ["nonpositive", "positive"], 0),
        ("drop-zero", ["negative", "positive"], None),
    ],
)
def test_label_rules(project: Path, rule: str, classes: list[str], zero: int | None) -> None:
    packaging(project / "mosi.pkl", zeros)
    found = listed(params_of(BASE, source="local", raw="mosi.pkl", labels=rule))
    labels = {sample["id"]: sample["label"] for sample in found["samples"]}
    assert found["classes"] == classes and found["rejected"] == []
    content = pickle.loads((project / "mosi.pkl").read_bytes())
    value = dict(zip(content["test"]["id"], content["test"]["regression_labels"], strict=True))
    assert all(labels[name.replace("$_$", "[") + "]"] == (number > 0) for name, number in value.items() if number)
    if zero is None:
        assert [entry["id"] for entry in found["dropped"]] == [
            f"sample000[{row}]" for row in range(3)
        ] and "sample000[0]" not in labels
        assert found["dropped"][0]["reason"] == "label 0 (labels: drop-zero)"
    else:
        assert "dropped" not in found and labels["sample000[0]"] == zero


def test_a_regression_has_the_opinions_for_labels(project: Path) -> None:
    packaging(project / "mosi.pkl", zeros)
    grid = {"low": -3, "high": 3, "points": 7}
    found = built(
        params_of(BASE, source="local", raw="mosi.pkl", labels="drop-zero", task="regression", regression=grid)
    )
    content = pickle.loads((project / "mosi.pkl").read_bytes())
    wanted = {
        name.replace("$_$", "[") + "]": float(value)
        for f in content.values()
        for name, value in zip(f["id"], f["regression_labels"], strict=True)
    }
    assert dict(zip(found["ids"], found["labels"], strict=True)) == wanted  # none dropped
    assert found["classes"] == ["-3", "-2", "-1", "0", "1", "2", "3"] and found["task"] == "regression"


def test_dropped_labels_do_not_count_as_rejected_and_wordless_ones_do(project: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        zeros(content)
        content["train"]["text"][5] = 0

    packaging(project / "mosi.pkl", change)
    local = {"source": "local", "raw": "mosi.pkl", "labels": "drop-zero"}
    with pytest.raises(
        UserError,
        match=r"1 of 45 samples are rejected, more than datasets.d.max_rejected = 0.01 \(first: sample000\[5\]:"
        r" no text\)",
    ):
        listed(params_of(BASE, **local))
    found = listed(params_of(BASE, **local, max_rejected=0.03))
    assert (
        found["rejected"] == [{"id": "sample000[5]", "modality": None, "path": None, "reason": "no text"}]
        and len(found["samples"]) == 44
    )


def test_a_voice_of_no_steps_is_missing(project: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["train"]["audio_lengths"][4] = 0

    packaging(project / "mosi.pkl", change)
    local = {"source": "local", "raw": "mosi.pkl"}
    with pytest.raises(UserError, match=r"sample000\[4\]: audio: no audio file"):
        listed(params_of(BASE, **local))
    found = built(params_of(BASE, **local, missing="zero"))
    assert (
        found["zero_filled"]["audio"] == 1
        and found["modalities"]["audio"]["lengths"][found["ids"].index("sample000[4]")] == 0
    )


def test_splits_by_video(project: Path) -> None:
    found = listed(params_of(BASE, split={"rule": "actor", "folds": 4, "validation": 0.3}))
    videos = {
        split: {sample["group"] for sample in found["samples"] if sample["split"] == split}
        for split in ("train", "val", "test")
    }
    assert not videos["train"] & videos["test"] and not videos["train"] & videos["val"] and len(videos["test"]) == 2


def test_protocols_fill_in_what_is_not_given(project: Path) -> None:
    found = MosiSettings(kind="mosi", protocol="unaligned")  # type: ignore[call-arg]
    assert {name: (feature.length, feature.width) for name, feature in found.modalities.items()} == {  # type: ignore[union-attr]
        "text": (50, 768),
        "audio": (375, 5),
        "visual": (500, 20),
    }
    assert found.labels == "nonneg" and found.split.rule == "column"
    for protocol in ("aligned", "raw"):
        assert MosiSettings(kind="mosi", protocol=protocol).labels == "positive"  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"source": "local", "raw": "none.pkl"},
            r"none.pkl does not exist: set datasets.d.raw to mosi_data.pkl or mosi_raw.pkl",
        ),
        ({"source": "local", "raw": "data/d/raw/x.pkl"}, r"lies inside data/d/raw, which is rebuilt"),
        (
            {"modalities": {"text": {"width": 768}}},
            r"modalities.text.width = 768, but the packaging's text has 300: set it to 300 .*aligned",
        ),
        (
            {"modalities": {"smell": {"kind": "sequence", "length": 1, "width": 1}}},
            r"modality 'smell' is none of CMU-MOSI's: text, audio, visual",
        ),
        ({"modalities": {"text": {"file": "x.npy"}}}, r"modality text must be kind: sequence without file"),
        ({"sample": {"lengths": {"text": 1}}}, r"lengths.text = 1: .* greater than or equal to 2"),
        ({"protocol": "best"}, r"protocol 'best' is unknown; valid: custom, aligned, raw, unaligned"),
    ],
)
def test_each_mistake_gets_its_line(project: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        listed(params_of(BASE, **changes))
    assert "\n" not in str(caught.value)


def test_a_malicious_packaging_is_refused_and_nothing_runs(project: Path) -> None:
    (project / "mosi.pkl").write_bytes(b"cos\nmkdir\n(S'executed'\ntR.")
    with pytest.raises(UserError, match=r"mosi.pkl holds more than plain arrays and was not loaded: it names os.mkdir"):
        listed(params_of(BASE, source="local", raw="mosi.pkl"))
    assert not (project / "executed").exists() and not (project / "data/d/raw").exists()


def test_a_download_goes_on_after_an_interruption_and_is_checked(project: Path) -> None:
    packaging(project / "mosi.pkl")
    with serving() as server:
        fact = server.add((project / "mosi.pkl").read_bytes())
        server.cut[fact.sha256 or ""] = 1
        fetched = {"source": "download", "raw": "copy/mosi.pkl", "url": f"{server.url}/objects/{fact.sha256}"}
        found = listed(params_of(BASE, **fetched, sha256=(fact.sha256 or "").upper()))
        assert len(found["samples"]) == 48 and found["source"] == "download"
        # the second time from where the first broke off
        assert [wanted is None for _, wanted in server.gets] == [
            True,
            False,
        ]
        listed(params_of(BASE, **fetched, sha256=fact.sha256))
        assert len(server.gets) == 2  # kept
        with pytest.raises(
            UserError,
            match=r"copy/mosi.pkl is not the file wanted: its sha256 is .*datasets.d.sha256 says aaa.*move it away",
        ):
            listed(params_of(BASE, **fetched, sha256="a" * 64))
        (project / "copy/mosi.pkl").unlink()
        with pytest.raises(UserError, match=r"is not the file wanted"):
            listed(params_of(BASE, **fetched, sha256="a" * 64))
        assert not (project / "copy/mosi.pkl").exists()


def test_a_download_needs_an_address_and_a_checksum(project: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"no official home: set datasets.d.url .* and datasets.d.sha256 to its checksum, or fetch it yourself",
    ):
        listed(params_of(BASE, source="download", url="http://127.0.0.1:9/x"))


def test_label_rule_and_protocol_set_the_index_not_the_raw_files() -> None:
    one, other = params_of(BASE), params_of(BASE, labels="positive", modalities={"text": {"length": 4}})
    assert declarations.settings(one, "raw", "d") == declarations.settings(other, "raw", "d")
    assert declarations.settings(one, "index", "d") != declarations.settings(other, "index", "d")


def test_params_yaml_as_shipped_is_the_samples_own(root: Path) -> None:
    shipped = yaml.safe_load((root / "params.yaml").read_text())["datasets"]["mosi"]
    assert MosiSample(**shipped["sample"]) == MosiSample()
    assert {name: feature["length"] for name, feature in shipped["modalities"].items()} == {
        "text": 16,
        "audio": 32,
        "visual": 24,
    }
