"""Stage verify: what is missing, of the wrong size or of the wrong content, by folder and by file."""

from pathlib import Path

import pytest

from equimodal.errors import UserError
from equimodal.stages import raw, verify
from equimodal.store import file_sha256
from small_datasets import CREMAD, params_of

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
        ["AudioWAV", "12", "10", "1", "0", "1", "0"],
        ["VideoFlash", "12", "11", "0", "0", "0", "1"],
    ]


def test_the_real_wavs_agree_with_the_real_manifest(project: Path, shared: Path) -> None:
    from equimodal.datasets.cremad.public import read_facts

    facts = read_facts(shared / "cremad" / "lfs_manifest.csv", "key")
    wavs = sorted((shared / "cremad" / "AudioWAV_original_10").glob("*.wav"))
    assert len(wavs) == 10 and [verify.fault_of(wav, facts[f"AudioWAV/{wav.name}"]) for wav in wavs] == [None] * 10
