"""Odd media go through the stages index and features: each is read, or rejected with its true reason."""

import os
import random
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import media_files as media
from equimodal.params import parse_params
from equimodal.stages import features, index
from equimodal.store import read_json, write_json
from robustness.tally import HANG, OTHER_BYTES, REFUSED, SURVIVED, TRACEBACK, Tally

pytestmark = pytest.mark.slow

GOOD, MUTATED = 16, 75
PATIENCE = 20.0  # seconds, instead of minutes
NAMES = (
    *("-dash.mp4", "concat:a.mp4", "per%cent%03d.mp4", "quote'\".mp4", "new\nline.mp4", "ünï.mp4", "http:x.mp4"),
    *("star*[a].mp4", "a blank.mp4", "back\\slash.mp4", "wrong.wav", "wrong.txt", "none"),
)
KINDS = {
    "audio": {"kind": "spectrogram", "seconds": 0.4, "n_fft": 256, "window": 256, "hop": 128, "mel_bins": 16},
    "visual": {"kind": "frames", "n": 2, "size": [16, 24], "margin": 2, "channels": 1},
}
WAVE = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0"  # up to the number of channels
PLAYLIST = "a playlist, which names other files"
UNREADABLE = "not a readable media file|unreadable|no audio or video track|no (audio|video) track|no sound or video"
UNREADABLE += "|damaged: the sound|truncated: decoded|no sound|no picture|the container holds no track"


def originals(folder: Path) -> list[Path]:
    """Whole clips in the containers and codecs that datasets come in."""
    folder.mkdir()
    made = [
        media.write_video(folder / "h264.mp4", audio="aac"),
        media.write_video(folder / "bframes.mp4", b_frames=2, audio="aac"),
        media.write_video(folder / "mpeg4.avi", codec="mpeg4", audio="mp2"),
        media.write_video(folder / "flash.flv", codec="flv", audio="aac"),
        media.write_video(folder / "vp8.mkv", codec="libx264", audio="libopus"),
        media.write_wave(folder / "sound.wav", media.tone(1.0)),
        media.write_wave(folder / "float.wav", media.tone(1.0, 8000), 8000, "FLOAT"),
    ]
    return made


def mutated(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """What was done to a clip's bytes, and the result."""
    data = bytearray(content)
    place, length = rng.randrange(len(data)), rng.randrange(1, 400)
    what = rng.choice(["cut", "head cut off", "bits", "header bits", "zeros", "noise", "size", "twice", "garbage"])
    if what == "cut":
        del data[place:]
    elif what == "head cut off":
        del data[: rng.randrange(1, 200)]
    elif what in ("bits", "header bits"):
        for _ in range(rng.choice([1, 20, 300])):
            data[rng.randrange(min(len(data), 300) if what == "header bits" else len(data))] ^= 1 << rng.randrange(8)
    elif what == "zeros":
        data[place : place + length] = bytes(len(data[place : place + length]))
    elif what == "noise":
        data[place : place + length] = rng.randbytes(length)
    elif what == "size":  # a field that says far more than there is
        place = rng.randrange(min(len(data) - 4, 400))
        data[place : place + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)])
    elif what == "twice":
        data += bytes(data)
    else:
        data += rng.randbytes(length)
    return what, bytes(data)


def specials(folder: Path, clip: Path) -> dict[str, str]:
    """What is no media file at all: name -> its true reason, as a pattern; "" where it is one after all."""
    text: dict[str, tuple[bytes, str]] = {
        "empty.mp4": (b"", "empty"),
        "byte.mp4": (b"\0", UNREADABLE),
        "text.mp4": (b"no film at all\n" * 50, UNREADABLE),
        "page.mp4": (b"<!DOCTYPE html><html><body>404</body></html>", UNREADABLE),
        "pointer.flv": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", UNREADABLE),
        "zip.avi": (b"PK\x03\x04" + bytes(200), UNREADABLE),
        "list.mp4": (f"ffconcat version 1.0\nfile '{clip.name}'\n".encode(), PLAYLIST),
        "pipe-list.mp4": (b"ffconcat version 1.0\nfile 'fifo.mp4'\n", PLAYLIST),
        "self-list.mp4": (b"ffconcat version 1.0\nfile 'self-list.mp4'\n", PLAYLIST),
        "web-list.mp4": (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfifo.mp4\n#EXT-X-ENDLIST\n", PLAYLIST),
        "session.mp4": (b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 96\n", UNREADABLE),
        "subtitles.mp4": (b"1\n00:00:01,000 --> 00:00:02,000\nhi\n", UNREADABLE),
        "picture.mp4": (b"\x89PNG\r\n\x1a\n" + bytes(100), UNREADABLE),
        "header.wav": (
            WAVE + b"\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0data\0\0\0\0",
            UNREADABLE,
        ),
        "huge.wav": (b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\x7f\1\0\xff\xff" + b"\xff" * 20, UNREADABLE),
        "no-rate.wav": (
            WAVE + b"\0\0" + bytes(12) + b"data\x04\0\0\0" + bytes(4),
            UNREADABLE,
        ),
        "box.mp4": (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2\xff\xff\xff\xffmoov" + b"\xff" * 60, UNREADABLE),
        "boxes.mp4": (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + b"\0\0\0\x08moov" * 5000, UNREADABLE),
        "deep.mkv": (b"\x1a\x45\xdf\xa3" + b"\x01\xff\xff\xff\xff\xff\xff\xfe" * 100, UNREADABLE),
    }
    for name, (content, _) in text.items():
        (folder / name).write_bytes(content)
    reasons = {name: reason for name, (_, reason) in text.items()}
    (folder / "folder.mp4").mkdir()
    os.mkfifo(folder / "fifo.mp4")
    (folder / "circle.mp4").symlink_to("circle.mp4")
    (folder / "dangling.mp4").symlink_to("gone.mp4")
    (folder / "zero.mp4").symlink_to("/dev/zero")
    (folder / "null.mp4").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(folder / "socket.mp4"))
    (folder / "link.mp4").symlink_to(clip)
    with open(folder / "sparse.mp4", "wb") as file:
        file.truncate(1 << 36)
    reasons |= {
        "folder.mp4": "is a folder, not a file",
        "fifo.mp4": r"is a pipe \(FIFO\), not a file",
        "circle.mp4": "Too many levels of symbolic links",
        "dangling.mp4": "is a link to nothing",
        "zero.mp4": "is a device, not a file",
        "null.mp4": "is a device, not a file",
        "socket.mp4": "is a socket, not a file",
        "gone.mp4": "no such file",
        f"{'long' * 80}.mp4": "File name too long",
        "link.mp4/under.mp4": "Not a directory",
        "sparse.mp4": UNREADABLE,
        "link.mp4": "",
    }
    for name in NAMES:
        shutil.copyfile(clip, folder / name)
        reasons[name] = ""
    return reasons


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("equimodal.stages.index.PATIENCE", PATIENCE)
    monkeypatch.setattr("equimodal.features.extract.PATIENCE", PATIENCE)
    return tmp_path


def test_odd_media_are_read_or_rejected_with_their_reason(
    project: Path, rng: random.Random, tally: Tally, request: pytest.FixtureRequest
) -> None:
    folder = project / "media"
    clips = originals(folder)
    reasons = {clip.name: "" for clip in clips} | specials(folder, clips[0])
    for number in range(GOOD):
        shutil.copyfile(clips[0], folder / f"good{number}.mp4")
        reasons[f"good{number}.mp4"] = ""
    free: dict[str, str] = {}  # name -> what was done; read or rejected, whatever it comes to
    for number in range(MUTATED):
        clip = clips[number % len(clips)]
        what, content = mutated(clip.read_bytes(), rng)
        name = f"mutated{number}{rng.choice([clip.suffix, clip.suffix, '.mp4', '.wav', '.avi'])}"
        (folder / name).write_bytes(content)
        free[name] = f"{clip.name}: {what}"
    odd = Path(request.config.rootpath).parent / "shared" / "data" / "odd_media"
    for path in sorted(odd.glob("*")) if odd.is_dir() else []:
        if path.suffix != ".csv":
            (folder / f"odd-{path.name}").symlink_to(path)
            free[f"odd-{path.name}"] = path.name
    found = through_the_stages(project, [*reasons, *free])
    for name in [*reasons, *free]:
        tally.add(*judged(name, found.get(name), reasons.get(name), free.get(name)))


def judged(name: str, said: str | None, wanted: str | None, what: str | None) -> tuple[str, str]:
    """Outcome of a file whose rejection says `said` (None: read), and what was tried."""
    tried = f"{name[:60]!r} ({what or wanted or 'whole'}): {said}"
    if said is None:
        return (OTHER_BYTES if wanted else SURVIVED), tried
    if said.startswith("stuck"):
        return HANG, tried
    whole = "\n" not in said and said.strip() != "" and "Traceback" not in said and "/media/" not in said
    true = re.search(UNREADABLE + "|empty|stuck" if wanted is None else wanted or "(?!)", said) is not None
    return (REFUSED if whole and true else TRACEBACK), tried


def through_the_stages(project: Path, names: list[str]) -> dict[str, str]:
    """Name -> the reason for which index or features rejected it, those that were not absent alone."""
    modalities: dict[str, Any] = KINDS
    dataset = {"kind": "table", "root": "media", "table": "list.csv", "modalities": modalities, "missing": "zero"}
    study = {"datasets": ["own"], "from-scratch": [], "from-warmup": [], "seeds": [0]}
    own = {"own": {**dataset, "max_rejected": 1.0, "split": {"rule": "stratified"}}}
    params = parse_params({"study": study, "datasets": own, "methods": {}, "runtime": {"workers": 2}})
    rows = [f'"{name.replace(chr(34), chr(34) * 2)}",{"xy"[number % 2]}' for number, name in enumerate(names)]
    (project / "media" / "list.csv").write_text("\n".join(["path,label", *rows]) + "\n", encoding="utf-8")
    # As the stage raw would, which stops at the first that is no file
    facts = {name: {"bytes": 1, "sha256": None} for name in names}
    write_json(Path("data/own/raw/manifest.json"), {"files": facts})
    index.run(params, "own")
    listed = read_json(Path("data/own/index.json"))
    rejected = {entry["path"]: entry["reason"] for entry in listed["rejected"] if entry["path"]}
    file_of = {sample["id"]: sample["paths"]["audio"] for sample in listed["samples"]}
    missing: list[str] = []
    for modality in KINDS:
        features.run(params, "own", modality)
        info = read_json(Path(f"data/own/features/{modality}.json"))
        array = np.load(f"data/own/features/{modality}.npy", mmap_mode="r")
        assert len(array) == len(listed["samples"]) and np.isfinite(array).all()
        rejected |= {file_of[entry["id"]]: entry["reason"] for entry in info["rejected"]}
        missing += [file_of[entry["id"]] for entry in info["missing"]]
    lacking = [name for name in missing if missing.count(name) == len(KINDS)]
    return rejected | dict.fromkeys(lacking, "no audio track and no video track")
