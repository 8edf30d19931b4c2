"""Trained models in use: loaded from what they say of themselves, they predict what evaluation predicted."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import equimodal
from equimodal.errors import UserError
from equimodal.inference.clips import named
from equimodal.inference.model import ClipsRejected, TrainedModel, load
from equimodal.store import read_json, read_tensors, write_tensors
from evaluated_clips import clips_of, evaluated, weights


def scores(frame: pd.DataFrame, classes: list[str], prefix: str = "") -> np.ndarray:
    return frame[[f"{prefix}p:{name}" for name in classes]].to_numpy()


def test_the_same_bytes_as_evaluation(cremad: Path) -> None:
    model = load(weights())
    frame = evaluated()
    found = model.predictions(clips_of(list(frame["id"])), workers=2)
    assert found.labels == list(frame["prediction"])
    assert found.fused.astype(np.float32).tobytes() == scores(frame, model.classes).tobytes()
    for name in model.modalities:
        assert found.alone[name].astype(np.float32).tobytes() == scores(frame, model.classes, f"{name}:").tobytes()


def test_one_clip_alone_is_predicted_as_among_others(cremad: Path) -> None:
    model = equimodal.load(weights())
    frame = evaluated()
    (clip,) = clips_of([frame["id"][3]])
    np.testing.assert_allclose(model.predict_proba(clip)[0], scores(frame, model.classes)[3], rtol=1e-5)
    assert model.predict(clip) == [frame["prediction"][3]]


def test_evaluation_s_file_agrees_with_its_measures(cremad: Path) -> None:
    frame = evaluated()
    measured = read_json(weights().with_name("evaluation.json"))["selection"]["val"]["test"]
    assert (frame["prediction"] == frame["label"]).mean() == pytest.approx(measured["accuracy"])
    for name in ("audio", "visual"):
        right = (frame[f"{name}:prediction"] == frame["label"]).mean()
        assert right == pytest.approx(measured["modalities"]["split"][name])
    whole = pd.read_parquet(weights().with_name("predictions.parquet"))
    manifest = read_json(Path("data/d/manifest.json"))
    held = [name for name, split in zip(manifest["ids"], manifest["splits"], strict=True) if split != "train"]
    assert sorted(whole["id"]) == sorted(held)
    assert np.allclose(scores(whole, manifest["classes"]).sum(1), 1)


def test_seeds_of_a_result_are_averaged(cremad: Path) -> None:
    model = load("results/d_joint.json")
    assert model.seeds == [0, 1]
    frame = evaluated()
    mean = (scores(frame, model.classes) + scores(evaluated(seed=1), model.classes)) / 2
    np.testing.assert_allclose(model.predict_proba(clips_of(list(frame["id"]))), mean, rtol=1e-5)
    with pytest.raises(UserError, match="2 seeds have features of their own"):
        model.features(clips_of(list(frame["id"])))


def test_features_are_what_the_encoders_give(cremad: Path) -> None:
    model = load(weights())
    frame = evaluated()
    found = model.features(clips_of(list(frame["id"])))
    assert {name: values.shape for name, values in found.items()} == {name: (len(frame), 64) for name in found}
    logits = model.members[0].fuse({name: torch.from_numpy(values) for name, values in found.items()})
    np.testing.assert_allclose(logits.softmax(1), scores(frame, model.classes), rtol=1e-4)


def test_stored_rows_are_clips_too(cremad: Path) -> None:
    model = load(weights())
    manifest = read_json(Path("data/d/manifest.json"))
    row = manifest["rows"][manifest["splits"].index("test")]
    arrays = {name: np.load(f"data/d/features/{name}.npy")[row] for name in model.modalities}
    np.testing.assert_allclose(model.predict_proba(arrays)[0], scores(evaluated(), model.classes)[0], rtol=1e-5)
    with pytest.raises(UserError, match=r"audio is an array of shape \[1, 2\]: \[1, 8, \d+\] is needed"):
        model.predict({"audio": np.zeros((1, 2)), "visual": arrays["visual"]})


def test_nothing_global_moves(cremad: Path) -> None:
    state = torch.get_rng_state()
    load(weights())
    assert torch.equal(state, torch.get_rng_state())


def test_what_cannot_be_read_is_told_with_its_reason(cremad: Path) -> None:
    model = load(weights())
    (good,) = clips_of([evaluated()["id"][0]])
    Path("broken.flv").write_bytes(b"no media")
    bad = {"audio": good["audio"], "visual": "broken.flv"}
    found = model.predictions([bad, good, {"audio": good["audio"]}])
    assert [clip.files["visual"] for clip in found.clips] == [good["visual"]]
    assert [(gone.modality, gone.clip.files.get("visual")) for gone in found.rejected] == [
        ("visual", "broken.flv"),
        ("visual", None),
    ]
    with pytest.raises(ClipsRejected, match=r"1 of 2 clips cannot be read \(.*: visual: unreadable") as refused:
        model.predict([bad, good])
    assert len(refused.value.rejected) == 1


def test_a_missing_modality_is_zero_where_training_had_it_so(cremad: Path) -> None:
    model = load(weights())
    about = model.about.model_copy(update={"missing": "zero"})
    lenient = TrainedModel(about, model.members, model.seeds, model.files)
    (good,) = clips_of([evaluated()["id"][0]])
    found = lenient.predictions([{"audio": good["audio"]}, {}])
    assert found.filled == {"visual": 1}
    assert len(found.rejected) == 1, "nothing is left of it"
    stored = {name: np.load(f"data/d/features/{name}.npy")[:1] for name in model.modalities}
    zeros = {"audio": good["audio"], "visual": np.zeros_like(stored["visual"][0])}
    np.testing.assert_array_equal(found.fused, model.predictions(zeros).fused)


def test_memory_bounds_change_nothing(cremad: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(weights())
    clips = clips_of(list(evaluated()["id"]))
    whole = model.predictions(clips)
    monkeypatch.setattr("equimodal.inference.model.READ_BYTES", 1)
    apart = model.predictions(clips)
    np.testing.assert_allclose(apart.fused, whole.fused, rtol=1e-5)
    assert apart.clips == whole.clips


def test_what_is_no_model_is_refused_in_one_line(cremad: Path, tmp_path: Path) -> None:
    tensors, meta = read_tensors(weights())

    def refused(change: dict[str, Any], drop: str = "") -> str:
        file = tmp_path / "val.safetensors"
        write_tensors(file, tensors, {key: value for key, value in {**meta, **change}.items() if key != drop})
        with pytest.raises(UserError) as error:
            load(file)
        return str(error.value)

    assert "does not say how to use it, an older version" in refused({}, "about")
    assert "is of format 9, this version" in refused({"about": {**meta["about"], "format": 9}})
    damaged = {key: value for key, value in meta["about"].items() if key != "classes"}
    assert "its description is damaged (classes: Field required)" in refused({"about": damaged})
    assert "does not have: register it" in refused({"about": {**meta["about"], "kind": "mine"}})
    assert "does not fit the model that it describes" in refused(
        {"about": {**meta["about"], "model": {**meta["about"]["model"], "width": 4}}}
    )
    assert "holds no trained model" in refused({}, "rule")
    assert "is empty: the test split was not measured" in refused({"epoch": None})
    Path(tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        load(tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="is no result of this version"):
        load("data/d/manifest.json")
    with pytest.raises(UserError, match=r"holds no \.safetensors file"):
        load(tmp_path.parent)


def test_seeds_that_differ_in_more_are_refused(cremad: Path, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    shutil.copy(weights(), folder / "seed-0.safetensors")
    tensors, meta = read_tensors(weights(1))
    about = {**meta["about"], "data_digest": "other"}
    write_tensors(folder / "seed-1.safetensors", tensors, {**meta, "about": about})
    with pytest.raises(UserError, match="is of other data or settings than"):
        load(folder)
    write_tensors(folder / "seed-1.safetensors", tensors, meta)
    assert load(folder).seeds == [0, 1]


def test_a_command_s_words(cremad: Path) -> None:
    about = load(weights()).about
    (pair,) = clips_of([evaluated()["id"][0]])
    together = named([pair["audio"], pair["visual"]], about)
    assert [dict(clip.files) for clip in together] == [pair], "a sound file and a clip of one name"
    assert [dict(c.files) for c in named([f"audio={pair['audio']},visual={pair['visual']}"], about)] == [pair]
    (alone,) = named([pair["visual"]], about)
    assert alone.files == {"audio": pair["visual"], "visual": pair["visual"]}
    with pytest.raises(UserError, match="the model has no modality 'vsual'; it has: audio, visual"):
        named([f"audio={pair['audio']},vsual=x"], about)
    with pytest.raises(UserError, match="no clip is named"):
        named([], about)


def test_a_csv(cremad: Path, tmp_path: Path) -> None:
    about = load(weights()).about

    def clips(text: str) -> Any:
        (tmp_path / "list.csv").write_text(text)
        return named([str(tmp_path / "list.csv")], about)

    (one,) = clips("id,path,start,end\nx,a.mp4,0.5,1\n")
    assert (one.id, one.start, one.end) == ("x", 0.5, 1.0)
    assert one.files == dict.fromkeys(("audio", "visual"), str(tmp_path / "a.mp4"))
    (two,) = clips("path,visual,start\na.mp4,b.flv,0.5\n")
    assert two.id == "a@0.5"
    assert two.files == {"audio": str(tmp_path / "a.mp4"), "visual": str(tmp_path / "b.flv")}
    for text, line in (
        ("name\nx\n", "has no column of files: name one path"),
        ("path\n", "has no rows below its header"),
        ("path,start\na.mp4,soon\n", "line 2: 'soon' in column 'start' is no number of seconds"),
        ("path,start,end\na.mp4,2,1\n", r"line 2: from 2 s to 1.0 s is no part"),
        ("path,id\n,x\n", "line 2: no file is named"),
    ):
        with pytest.raises(UserError, match=line):
            clips(text)
