"""Stage manifest from hand-written features."""

import json
from pathlib import Path
from typing import Any

import pytest

from equimodal.errors import UserError
from equimodal.params import Params, parse_params
from equimodal.stages import manifest
from equimodal.store import digest, read_manifest, write_json

KINDS = {"audio": {"kind": "spectrogram"}, "visual": {"kind": "frames"}}


def params(**dataset: Any) -> Params:
    own = {"kind": "table", "root": "media", "table": "list.csv", "modalities": KINDS, "max_rejected": 0.5, **dataset}
    return parse_params(
        {
            "study": {"datasets": ["own"], "from-scratch": [], "from-warmup": [], "seeds": [0]},
            "datasets": {"own": own},
            "methods": {},
        }
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write()
    return tmp_path


def write(
    failures: dict[str, dict[str, list[int]]] | None = None, classes: tuple[str, ...] = ("x", "y"), rejected: int = 0
) -> None:
    """12 samples, 2 per class and split; `failures`: modality -> {"rejected" | "missing": rows}."""
    samples = [
        {
            "id": f"s{row:02d}",
            "label": row % len(classes),
            "group": None,
            "split": ("train", "val", "test")[row // 4],
            "start": None,
            "end": None,
            "paths": {},
        }
        for row in range(12)
    ]
    index = {
        "dataset": "own",
        "source": "local",
        "root": "media",
        "classes": list(classes),
        "split": {"rule": "column"},
        "samples": samples,
        "rejected": [
            {"id": f"gone{number}", "path": "p", "modality": None, "reason": "unreadable: gone"}
            for number in range(rejected)
        ],
    }
    folder = Path("data/own/features")
    folder.mkdir(parents=True, exist_ok=True)
    Path("data/own/index.json").write_text(json.dumps(index))
    for modality, kind in KINDS.items():
        listed = (failures or {}).get(modality, {})
        info = {
            "modality": modality,
            "kind": kind["kind"],
            "settings": {"kind": kind["kind"]},
            "shape": [1, 2, 3],
            "dtype": "float32",
            "notes": {},
            "rows": 12,
            "clips": 12,
            "sha256": "0" * 64,
            "stats": {"mean": [0.5], "std": [2.0]},
            **{
                key: [{"row": row, "id": f"s{row:02d}", "reason": f"{modality} {key}"} for row in listed.get(key, [])]
                for key in ("rejected", "missing")
            },
        }
        (folder / f"{modality}.json").write_text(json.dumps(info))


def made(**dataset: Any) -> dict[str, Any]:
    manifest.run(params(**dataset), "own")
    return json.loads(Path("data/own/manifest.json").read_text())


def test_content(folder: Path) -> None:
    found = made()
    assert found["rows"] == list(range(12))
    assert found["labels"] == [0, 1] * 6
    assert found["splits"] == ["train"] * 4 + ["val"] * 4 + ["test"] * 4
    assert found["modalities"]["visual"]["path"] == "data/own/features/visual.npy"
    assert list(found["modalities"]["audio"]) == sorted(found["modalities"]["audio"])
    assert found["split"] == {
        "rule": "column",
        "counts": {split: {"x": 2, "y": 2} for split in ("train", "val", "test")},
    }
    assert (found["rejected"], found["zero_filled"]) == ([], {"audio": 0, "visual": 0})
    content = {key: value for key, value in found.items() if key != "digest"}
    assert found["digest"] == digest(content)


def test_rejected_rows_are_left_out_with_their_reason(folder: Path) -> None:
    write({"audio": {"rejected": [5]}, "visual": {"rejected": [2], "missing": [8]}}, rejected=1)
    found = made()
    assert found["rows"] == [0, 1, 3, 4, 6, 7, 9, 10, 11]
    assert found["ids"] == [f"s{row:02d}" for row in found["rows"]]
    assert found["rejected"] == [
        {"id": "gone0", "modality": None, "reason": "unreadable: gone"},
        {"id": "s02", "modality": "visual", "reason": "visual rejected"},
        {"id": "s05", "modality": "audio", "reason": "audio rejected"},
        {"id": "s08", "modality": "visual", "reason": "visual missing"},
    ]
    assert found["split"]["counts"]["train"] == {"x": 1, "y": 2}


def test_missing_tracks_may_be_zero_but_broken_ones_not(folder: Path) -> None:
    write({"audio": {"missing": [3, 6]}, "visual": {"missing": [6, 8, 9], "rejected": [3]}})
    found = made(missing="zero")
    assert found["rows"] == [0, 1, 2, 4, 5, 7, 8, 9, 10, 11]
    assert found["zero_filled"] == {"audio": 0, "visual": 2}
    assert [(entry["id"], entry["modality"]) for entry in found["rejected"]] == [
        ("s03", "visual"),
        ("s06", "audio"),
        ("s06", "visual"),
    ]


def test_too_many_rejected_stop_with_count_share_reasons_and_setting(folder: Path) -> None:
    write({"audio": {"rejected": [2, 6]}, "visual": {"missing": [2]}}, rejected=1)
    with pytest.raises(UserError) as caught:
        made(max_rejected=0.2)
    said = str(caught.value)
    reasons = ("First: gone0: p: unreadable: gone; s02: audio: audio rejected; s02: visual: visual missing. ",)
    for part in ("3 of 13 samples rejected", "23.1%", "datasets.own.max_rejected = 0.2", *reasons, "missing: zero"):
        assert part in said
    assert "\n" not in said
    assert not Path("data/own/manifest.json").exists()
    assert len(made(max_rejected=0.25)["rows"]) == 10


def test_a_file_that_two_modalities_cannot_read_is_named_once(folder: Path) -> None:
    write({"audio": {"rejected": [2]}, "visual": {"rejected": [2]}})
    index = json.loads(Path("data/own/index.json").read_text())
    index["samples"][2]["paths"] = {"audio": "a.mp4", "visual": "a.mp4"}
    Path("data/own/index.json").write_text(json.dumps(index))
    for modality in KINDS:
        path = Path(f"data/own/features/{modality}.json")
        path.write_text(path.read_text().replace(f"{modality} rejected", "broken"))
    with pytest.raises(UserError, match=r"First: s02: a\.mp4: broken\. Repair"):
        made(max_rejected=0.0)
    assert [entry["modality"] for entry in made()["rejected"]] == ["audio", "visual"]


@pytest.mark.parametrize(("rows", "split"), [([0, 2], "train"), ([9, 11], "test")])
def test_a_class_absent_from_a_split_is_refused(folder: Path, rows: list[int], split: str) -> None:
    write({"audio": {"rejected": rows}})
    with pytest.raises(
        UserError,
        match=rf"own: the {split} split has no sample of 1 of 2 classes \({'x' if split == 'train' else 'y'}\)",
    ):
        made()


def test_a_class_absent_from_validation_is_a_warning(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GRID's 51 words, as committed in params.yaml, have no "h" there."""
    write({"audio": {"rejected": [4, 6]}})
    assert len(made()["rows"]) == 10
    err = capsys.readouterr().err
    assert "warning: own: validation has fewer than 2 samples of 1 of 2 classes (x 0)" in err
    assert "warning: own: validation has 2 samples (under 30)" in err and "test has 4 samples" in err
    write({"audio": {"rejected": [4, 5, 6, 7]}})
    with pytest.raises(UserError, match="the val split has no sample of 2 of 2 classes"):
        made()


def test_dropped_classes_go_along(folder: Path) -> None:
    assert "dropped_classes" not in made()
    path = Path("data/own/index.json")
    dropped = {"z": "no clip in the copy (missing_classes: drop)"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "dropped_classes": dropped}))
    assert made()["dropped_classes"] == dropped


def test_one_class_is_refused(folder: Path) -> None:
    write(classes=("only",))
    with pytest.raises(UserError, match=r"own: 1 class \(only\); at least two are needed"):
        made()


def test_features_of_another_index_are_refused(folder: Path) -> None:
    path = Path("data/own/features/audio.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "rows": 11}))
    with pytest.raises(UserError, match=r"audio\.json has 11 rows, data/own/index\.json 12 samples"):
        made()


def test_the_declared_order_is_kept_and_part_of_the_digest(folder: Path) -> None:
    """JSON sorts keys, so it stands beside them."""
    first = made(modalities={name: KINDS[name] for name in ("visual", "audio")})
    path = Path("data/own/manifest.json")
    assert first["order"] == ["visual", "audio"] == list(read_manifest(path)["modalities"])
    assert list(first["modalities"]) == ["audio", "visual"]
    assert made()["digest"] != first["digest"] and list(read_manifest(path)["modalities"]) == ["audio", "visual"]


def test_a_manifest_without_the_order_is_refused(folder: Path) -> None:
    content = made()
    del content["order"]
    write_json(Path("data/own/manifest.json"), content)
    with pytest.raises(UserError, match="does not say in which order its modalities are declared"):
        read_manifest(Path("data/own/manifest.json"))
