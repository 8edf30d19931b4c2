"""A changed file of start weights, seen by both engines; what starts from it follows by test_agreement's graph."""

from engine_project import Project

TARGET = "data/cremad/weights.safetensors"


def test_both_engines_see_a_changed_file(project: Project) -> None:
    file = project.root / "weights/mine.pth"
    file.write_bytes(b"one")
    project.edit("params.yaml", "  weights: null ", "  weights: weights/mine.pth ")
    project.run("snakemake", "--cores", "1", "--", TARGET)
    assert project.ran() == ["weights cremad"]
    assert project.planned(TARGET) == []
    project.dvc("repro", "-q", "weights@cremad")
    project.ran()
    file.write_bytes(b"two")
    assert project.planned(TARGET) == ["weights cremad"]
    project.dvc("repro", "-q", "weights@cremad")
    assert project.ran() == ["weights cremad"]
    project.dvc("repro", "-q", "weights@cremad")
    assert project.ran() == []


def test_snakemake_sees_a_file_anywhere(project: Project) -> None:
    file = project.root.parent / "elsewhere.pth"
    file.write_bytes(b"one")
    project.edit("params.yaml", "  weights: weights/mine.pth ", f"  weights: {file} ")
    project.run("snakemake", "--cores", "1", "--", TARGET)
    assert project.planned(TARGET) == []
    file.write_bytes(b"two")
    assert project.planned(TARGET) == ["weights cremad"]
