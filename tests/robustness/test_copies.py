"""Copies of datasets as users have them: files gone, LFS pointers in their place, strays, lists cut or with wrong ids,
classes renamed, folders empty. Each ends in an index whose samples can be read and whose rejections have true reasons,
or in one line that names the setting or the file.

Where a try goes wrong it is counted as `other bytes`: an index that says what is not so.
"""

import os
import pickle
import random
import re
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equimodal.errors import UserError
from equimodal.stages import index, raw
from equimodal.store import read_json
from robustness.tally import OTHER_BYTES, REFUSED, SURVIVED, TRACEBACK, Tally
from small_datasets import CREMAD, KS, MODALITIES, TABLE, UCF101, params_of

pytestmark = pytest.mark.slow

TRIES = 40  # of each dataset
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 57702\n"
# What became of a file -> how a true reason for its rejection begins.
REASONS = {
    "gone": ("no sound file", "no picture file", "no such file"),
    "pointer": ("a git LFS pointer",),
    "empty": ("empty file",),
    "text": ("not a readable media file",),
    "whole": ("no audio track", "no video track"),  # of the sample's clips some have none
}
MEDIA = (".wav", ".flv", ".mp4", ".avi")
MOSI: dict[str, Any] = {
    "kind": "mosi",
    "source": "sample",
    "sample": {"videos": 12, "segments": 4},
    "modalities": {
        "text": {"kind": "sequence", "width": 300, "length": 16},
        "audio": {"kind": "sequence", "width": 74, "length": 32},
    },
}
SAMPLES = {
    "cremad": CREMAD,
    "ks": {**KS, "sample": {"classes": 3, "clips_per_class": 15, "seconds": 0.4, "size": [32, 40]}},
    "ucf101": UCF101,
    "mosi": MOSI,
}
Fates = dict[str, str]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated samples, a folder each: d/ below it is what a user would have copied."""
    folder = tmp_path_factory.mktemp("samples")
    before = Path.cwd()
    for name, settings in SAMPLES.items():
        (folder / name).mkdir()
        os.chdir(folder / name)
        raw.run(params_of(settings), dataset="d")
        Path("data/d/raw/manifest.json").unlink()
        Path("data/d/raw").rename("copy")
    (folder / "table").mkdir()
    shutil.copytree(folder / "ks/copy", folder / "table/copy")
    clips = sorted(path.relative_to(folder / "table/copy") for path in (folder / "table/copy").rglob("*.mp4"))
    rows = "".join(f"{clip},{clip.parts[-2]}\n" for clip in clips)
    (folder / "table/copy/rows.csv").write_text("path,label\n" + rows)
    os.chdir(before)
    return folder


def media(copy: Path) -> list[Path]:
    """Its clips."""
    return sorted(path for path in copy.rglob("*") if path.suffix in MEDIA)


def break_files(copy: Path, rng: random.Random, fates: Fates) -> str:
    """Some or all of the clips of one folder or of all become something else."""
    there = media(copy)
    if not there:
        return "nothing left"
    folder = rng.choice([None, rng.choice(there).parent])
    chosen = [path for path in there if folder in (None, path.parent)]
    chosen = rng.sample(chosen, rng.choice([1, 2, max(1, len(chosen) // 3), len(chosen)]) if len(chosen) > 2 else 1)
    fate = rng.choice(["gone", "pointer", "empty", "text"])
    for path in chosen:
        path.unlink()  # a hard link: the sample's own stays
        if fate != "gone":
            path.write_text({"pointer": POINTER, "empty": "", "text": "no media"}[fate])
        fates[path.relative_to(copy).as_posix()] = fate
    return f"{len(chosen)} files {fate} in {folder.name if folder else 'all folders'}"


def strays(copy: Path, rng: random.Random, fates: Fates) -> str:
    """Files with names that are not the dataset's, beside those that are."""
    there = media(copy)
    if not there:
        return "no place for strays"
    for path in rng.sample(there, min(3, len(there))):
        name = rng.choice([f"{path.stem}_copy", f"{path.stem.removesuffix('X')}_X", ".hidden", "notes"])
        shutil.copy(path, path.with_name(f"{name.replace('_X_X', '_X')}{path.suffix}"))
    if rng.random() < 0.2:
        (there[0].parent.parent / "again").mkdir(exist_ok=True)
        shutil.copy(there[0], there[0].parent.parent / "again")
    (copy / "Thumbs.db").write_bytes(b"\0")
    return "strays"


def lists_of(copy: Path) -> list[Path]:
    return sorted([*copy.rglob("*.txt"), *copy.glob("*.csv")])


def break_list(copy: Path, rng: random.Random, fates: Fates) -> str:
    """A line of a list is cut, doubled, renumbered, or of another class; or the list ends early, or is gone."""
    found = lists_of(copy)
    if not found:
        return "no list"
    path = rng.choice(found)
    lines = path.read_text().splitlines(keepends=True)
    place = rng.randrange(len(lines))
    how = rng.choice(["cut", "lose", "twice", "number", "class", "garbage", "end", "empty", "remove"])
    if how in ("end", "empty"):
        lines = lines[: place if how == "end" else 0]
    elif how == "lose":
        del lines[place]
    elif how == "twice":
        lines.insert(place, lines[place])
    else:
        lines[place] = {
            "cut": lines[place][: len(lines[place]) // 2] + "\n",
            "number": re.sub(r"\d+(?=\s*$)", lambda match: str(int(match[0]) + 1), lines[place]),
            "class": lines[place].replace("P", "Q").replace("s", "z"),
            "garbage": "\x00�;;;\n",
        }.get(how, lines[place])
    path.unlink()
    if how != "remove":
        path.write_text("".join(lines))
    return f"{path.name}: {how} at line {place + 1}"


def move_folder(copy: Path, rng: random.Random, fates: Fates) -> str:
    """A folder of clips is renamed, gone, or empty."""
    folders = sorted({path.parent for path in media(copy)})
    if not folders or folders == [copy]:
        return "no folder"
    folder, how = rng.choice(folders), rng.choice(["renamed", "gone", "empty"])
    for path in media(folder):
        fates[path.relative_to(copy).as_posix()] = "gone"
    if how == "renamed":
        folder.rename(folder.with_name(f"{folder.name}Old"))
    else:
        shutil.rmtree(folder)
    if how == "empty":
        folder.mkdir()
    return f"folder {folder.name} {how}"


def break_packaging(copy: Path, rng: random.Random, fates: Fates) -> str:
    """CMU-MOSI is one file: gone, a pointer, cut, or with fewer segments."""
    path = next(copy.glob("*.pkl"), None)
    if path is None:
        return "no packaging"
    how = rng.choice(["gone", "pointer", "empty", "text", "cut", "fewer", "fewer", "part", "modality"])
    content = path.read_bytes()
    path.unlink()
    if how in ("fewer", "part", "modality"):
        try:
            parts = pickle.loads(content)
        except Exception:
            return "no packaging any more"
        split = rng.choice(sorted(parts))
        if how == "part":
            del parts[split]
        elif how == "modality":
            del parts[split][rng.choice(sorted(parts[split]))]
        else:
            keep = rng.randrange(1, 12)
            parts[split] = {key: value[:keep] for key, value in parts[split].items()}
        content = pickle.dumps(parts)
    changed = {"pointer": POINTER.encode(), "empty": b"", "text": b"no pickle", "cut": content[: len(content) // 2]}
    if how != "gone":
        path.write_bytes(changed.get(how, content))
    return f"packaging {how}"


BREAKS: dict[str, list[Callable[[Path, random.Random, Fates], str]]] = {
    "cremad": [break_files, break_files, strays, move_folder],
    "ks": [break_files, break_files, strays, break_list, move_folder],
    "ucf101": [break_files, break_files, strays, break_list, break_list, move_folder],
    "mosi": [break_packaging],
    "table": [break_files, break_files, strays, break_list, move_folder],
}


def settings_of(name: str, rng: random.Random) -> dict[str, Any]:
    """What the user has set: the copy and, at random, what allows for its holes."""
    own: dict[str, Any] = {"source": "local", "raw": "copy", "max_rejected": rng.choice([0.01, 0.5, 1.0])}
    own["missing"] = rng.choice(["reject", "zero"])
    if name in ("cremad", "ks", "ucf101"):
        own["missing_classes"] = rng.choice(["refuse", "drop", "drop"])
    if name == "cremad":
        own |= {"classes": rng.choice([None, None, None, None, ["ANG", "HAP", "SAD"], ["ANG", "HAPPY"]])}
        if rng.random() < 0.3:
            own["modalities"] = {"audio": MODALITIES["audio"]}
    elif name == "ks":
        own["lists"] = {"train": "copy/lists/my_train.txt", "test": "copy/lists/my_test.txt"}
    elif name == "ucf101":
        own["split"] = {"lists": "copy/ucfTrainTestlist", "rule": rng.choice(["lists", "lists", "stratified"])}
        own["classes"] = rng.choice([None, None, ["PullUps", "SkyDiving"]])
    elif name == "mosi":
        own["raw"] = "copy/mosi_sample.pkl"
    else:
        own = {"root": "copy", "table": "rows.csv", "max_rejected": own["max_rejected"], "missing": own["missing"]}
    return own


def base_of(name: str, own: dict[str, Any]) -> dict[str, Any]:
    base = dict(TABLE if name == "table" else SAMPLES[name])
    return {key: value for key, value in base.items() if key != "modalities" or "modalities" not in own}


def untrue(found: dict[str, Any], fates: Fates, own: dict[str, Any]) -> str | None:
    """What an index says that is not so; None where it is right."""
    classes, zero = found["classes"], own["missing"] == "zero"
    splits = {(sample["label"], sample["split"]) for sample in found["samples"]}
    if len(classes) < 2 or not all(
        (label, part) in splits for label in range(len(classes)) for part in ("train", "test")
    ):
        return f"classes {classes} are not in every split"
    if set(classes) & set(found.get("dropped_classes", {})):
        return "a class is dropped and used"
    for sample in found["samples"]:
        if not sample["id"].isdigit() and re.search(r"(copy|_X|notes|hidden)$", sample["id"]):
            return f"stray {sample['id']} is a sample"
        there = [path for path in sample["paths"].values() if path is not None]
        if not there or (len(there) < len(sample["paths"]) and not zero):
            return f"{sample['id']} has no file"
        bad = [path for path in there if fates.get(path, "whole") != "whole"]
        if bad:
            return f"{bad[0]} is {fates[bad[0]]}, but a sample"
        if any(not (Path(found["root"]) / path.partition("#")[0]).is_file() for path in there):
            return f"a file of {sample['id']} is not there"
    for entry in found["rejected"]:
        fate = "gone" if entry["path"] is None else fates.get(entry["path"], "whole")
        if entry["reason"] != "no text" and not entry["reason"].startswith(REASONS[fate]):
            return f"{entry['id']}: {entry['path']} is {fate}, rejected as: {entry['reason']}"
    return None


NAMED = re.compile(r"datasets\.d\.\w|, line \d+|copy[/ ]|\.(txt|csv|pkl|avi)\b")


@pytest.mark.parametrize("name", list(BREAKS))
def test_a_broken_copy_is_an_index_with_true_reasons_or_one_line(
    name: str,
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rng: random.Random,
    tally: Tally,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(TRIES):
        shutil.rmtree("copy", ignore_errors=True)
        shutil.rmtree("data", ignore_errors=True)
        shutil.copytree(samples / name / "copy", "copy", copy_function=os.link)
        fates: Fates = {}
        own = settings_of(name, rng)
        done = [rng.choice(BREAKS[name])(Path("copy"), rng, fates) for _ in range(rng.choice([1, 1, 2, 3]))]
        tried = f"{name} {number}: {'; '.join(done)}; {own}"
        try:
            params = params_of(base_of(name, own), **own)
            raw.run(params, dataset="d")
            index.run(params, dataset="d")
        except UserError as error:
            good = "\n" not in str(error) and NAMED.search(str(error))
            tally.add(REFUSED if good else OTHER_BYTES, f"{tried}: {error}")
        except Exception:
            tally.add(TRACEBACK, f"{tried}: {traceback.format_exc()}")
        else:
            wrong = untrue(read_json(Path("data/d/index.json")), fates, own)
            tally.add(OTHER_BYTES if wrong else SURVIVED, f"{tried}: {wrong}")
    capfd.readouterr()
