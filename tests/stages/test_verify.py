"""Stage verify: what is missing, of the wrong size or of the wrong content, by folder and by file."""

from pathlib import Path

import pytest

from equimodal.datasets.cremad import dataset, public
from equimodal.datasets.fetch.web import WebError
from equimodal.errors import UserError
from equimodal.stages import raw, verify
from equimodal.store import file_sha256
from small_datasets import CREMAD, MODALITIES, params_of

SMALL = {"sample": {"actors": 2, "clips_per_actor": 6}}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, the current one during the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spoil(folder: Path) -> tuple[str, str, str]:
    """Remove one file, cut one, change a byte of one."""
    gone, cut, *_ = sorted(folder.glob("AudioWAV/*.wav"))
    changed = min(folder.glob("VideoFlash/*.flv"))
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    changed.write_bytes(changed.read_bytes()[:-1] + bytes([changed.read_bytes()[-1] ^ 1]))
    return gone.name, cut.name, changed.name


def test_a_generated_sample_is_right_until_it_is_touched(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = params_of(CREMAD, **SMALL)
    raw.run(params, dataset="d")
    verify.run(params, dataset="d")
    gone, cut, changed = spoil(project / "data/d/raw")
    with pytest.raises(UserError, match="3 of 24 files in data/d/raw are not as they should be"):
        verify.run(params, dataset="d")
    out = capsys.readouterr().out
    assert (
        f"missing: AudioWAV/{gone}" in out
        and f"wrong size: AudioWAV/{cut}" in out
        and f"wrong checksum: VideoFlash/{changed}" in out
    )


def test_nothing_to_compare_with_is_no_success(project: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"nothing to compare with yet: build it first \(snakemake --cores 4 -- data/d/raw/manifest.json\)",
    ):
        verify.run(params_of(CREMAD, **SMALL), dataset="d")


def test_a_copy_is_compared_with_a_manifest(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw.run(params_of(CREMAD, **SMALL), dataset="d")
    (project / "data/d/raw").rename(project / "copy")
    files = [path for path in sorted((project / "copy").rglob("*.*")) if path.name != "manifest.json"]
    lines = [
        f"{path.relative_to(project / 'copy').as_posix()},{file_sha256(path)},{path.stat().st_size}" for path in files
    ]
    (project / "facts.csv").write_text("\n".join(["path,sha256,bytes", *lines]) + "\n")
    params = params_of(CREMAD, source="local", raw="copy", manifest="facts.csv")
    verify.run(params, dataset="d")
    spoil(project / "copy")
    with pytest.raises(UserError, match="3 of 24 files in copy"):
        verify.run(params, dataset="d")
    rows = [
        line.split("│")[1:-1]
        for line in capsys.readouterr().out.splitlines()
        if "AudioWAV " in line or "VideoFlash " in line
    ]
    assert [[cell.strip() for cell in row] for row in rows[2:]] == [
        ["AudioWAV", "12", "10", "1", "1", "0"],  # missing, wrong size, wrong checksum
        ["VideoFlash", "12", "11", "0", "0", "1"],
    ]


def listed(project: Path) -> list[str]:
    return (project / "logs/verify/d.txt").read_text().splitlines()


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 57702\n"


def test_every_fault_is_in_a_file_with_both_sizes(project: Path) -> None:
    params = params_of(CREMAD, **SMALL)
    raw.run(params, dataset="d")
    gone, cut, _ = spoil(project / "data/d/raw")
    size = (project / "data/d/raw/AudioWAV" / cut).stat().st_size
    with pytest.raises(
        UserError, match=r"\(1 missing, 1 wrong size, 1 wrong checksum; all in logs/verify/d.txt\): fetch those again"
    ):
        verify.run(params, dataset="d")
    lines = listed(project)
    assert lines[0].startswith(f"missing: AudioWAV/{gone} (") and lines[0].endswith(" bytes expected)")
    assert f"wrong size: AudioWAV/{cut} ({size + 1} bytes expected, {size} found)" in lines and len(lines) == 3
    raw.run(params, dataset="d")
    verify.run(params, dataset="d")
    assert not (project / "logs/verify/d.txt").exists()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(url: str, most: int) -> bytes:
        raise WebError(f"no answer from {url}: no network")

    monkeypatch.setattr(public, "get", get)
    some = [name for name in public.published_files() if "/1037_" in name or "/1040_" in name]
    monkeypatch.setattr(dataset, "published_files", lambda: some)


def clone(project: Path, *folders: str) -> None:
    """CREMA-D as git without git-lfs clones it."""
    for folder in folders or ("AudioWAV", "VideoFlash"):
        (project / "copy" / folder).mkdir(parents=True)
    for name in dataset.published_files():
        if (project / "copy" / name).parent.is_dir():
            (project / "copy" / name).write_text(POINTER)


@pytest.mark.usefixtures("offline")
def test_a_clone_without_lfs_is_called_so_in_a_few_lines(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clone(project)
    (project / "copy/AudioWAV/1040_ITH_SAD_XX.wav").rename(project / "copy/AudioWAV/1040_ITH_SAD_X.wav")
    (project / "copy/AudioWAV/1037_IOM_HAP_X.wav").write_text("a copy")
    with pytest.raises(
        UserError,
        match=r"^d: 328 of 328 files in copy are not as they should be \(1 missing, 327 LFS pointer; all in"
        r" logs/verify/d\.txt\): run: git -C copy lfs install --local && git -C copy lfs pull .*;"
        r" fetch the others again$",
    ):
        verify.run(params_of(CREMAD, source="local", raw="copy"), dataset="d")
    out, err = capsys.readouterr()
    assert len(out.splitlines()) + len([line for line in err.splitlines() if "verifying" not in line]) <= 29
    assert "no network" in err and "names, counts and LFS pointers are checked" in err
    assert "missing: AudioWAV/1040_ITH_SAD_XX.wav" in out
    assert "stray, read by nothing: AudioWAV/1037_IOM_HAP_X.wav, AudioWAV/1040_ITH_SAD_X.wav" in out
    assert len(listed(project)) == 328 + 2
    assert "LFS pointer: AudioWAV/1037_IOM_HAP_XX.wav (57702 bytes expected, 130 found)" in listed(project)


@pytest.mark.usefixtures("offline")
def test_without_network_names_and_counts_are_compared(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clone(project, "AudioWAV")
    for path in (project / "copy/AudioWAV").iterdir():
        path.write_bytes(b"media")
    audio = {**CREMAD, "modalities": {"audio": MODALITIES["audio"]}}
    verify.run(params_of(audio, source="local", raw="copy"), dataset="d")  # VideoFlash/ is not missed
    row = next(line for line in capsys.readouterr().out.splitlines() if "AudioWAV " in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["AudioWAV", "164", "164"]
    with pytest.raises(UserError, match=r"\(164 missing; all in"):
        verify.run(params_of(CREMAD, source="local", raw="copy"), dataset="d")
    raw.run(params_of(audio, source="local", raw="copy"), dataset="d")
    (project / "copy/AudioWAV/1040_ITH_SAD_XX.wav").write_bytes(b"medium")
    with pytest.raises(UserError, match=r"1 of 164 files in copy .*\(1 wrong size"):  # than the raw stage found
        verify.run(params_of(audio, source="local", raw="copy"), dataset="d")
    assert listed(project) == ["wrong size: AudioWAV/1040_ITH_SAD_XX.wav (5 bytes expected, 6 found)"]


def test_many_folders_are_the_worst_ones_and_a_sum() -> None:
    faults = {f"f{n:02d}/{k}": "missing" if k < n % 7 else None for n in range(20) for k in range(7)}
    rows = dict(verify._rows(faults, ["f00/x"]))
    assert len(rows) == 12 and list(rows)[-1] == "9 others" and {"f06", "f13", "f05", "f12"} < set(rows)
    assert sum(counted.total() for counted in rows.values()) == 141


def test_the_real_wavs_agree_with_the_real_manifest(project: Path, shared: Path) -> None:
    from equimodal.datasets.cremad.public import read_facts

    facts = read_facts(shared / "cremad" / "lfs_manifest.csv", "key")
    wavs = sorted((shared / "cremad" / "AudioWAV_original_10").glob("*.wav"))
    assert len(wavs) == 10 and [verify.fault_of(wav, facts[f"AudioWAV/{wav.name}"]) for wav in wavs] == [None] * 10
