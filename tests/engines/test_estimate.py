"""What a run says before it starts: jobs, and their time by earlier runs."""

from pathlib import Path

import pytest

from equimodal.engines.estimate import Job, announcement, duration, expected, in_words, seconds_of

HEAD = "s\th:m:s\tmax_rss\n"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs/train"
    folder.mkdir(parents=True)
    for name, seconds in (
        ("cremad-aim-0", 100),
        ("cremad-aim-1", 120),
        ("cremad-joint-0", 30),
        ("grid-words-aim-0", 400),
    ):
        (folder / f"{name}.tsv").write_text(f"{HEAD}{seconds}.0\t0:00:30\t5\n")
    (folder / "cremad-late-0.tsv").write_text("")  # a job that runs now
    return folder


def test_a_job_is_like_the_nearest_earlier_ones(logs: Path) -> None:
    known = seconds_of(logs)
    assert set(known) == {"cremad-aim-0", "cremad-aim-1", "cremad-joint-0", "grid-words-aim-0"}
    asked = {
        "cremad-aim-1": 120,  # itself
        "cremad-aim-7": 110,  # other seeds
        "cremad-mla-0": 100,  # its dataset
        "grid-words-joint-0": 400,
        "ks-aim-0": 110,  # any
    }
    assert {stem: expected(logs / f"{stem}.tsv", known) for stem in asked} == asked
    assert expected(logs / "cremad-aim-1.tsv", {}) is None


def test_time_is_bounded_by_cores_the_gpu_and_the_longest_chain() -> None:
    jobs = [Job("train", None), Job("train", None), Job("train", None), Job("evaluate", None, after=(2,))]
    assert duration(jobs, [10.0, 10.0, 10.0, 10.0], 1) == 40
    assert duration(jobs, [10.0, 10.0, 10.0, 10.0], 2) == 20
    assert duration(jobs, [10.0, 10.0, 10.0, 10.0], 8) == 20
    assert duration([Job("train", None, gpus=1)] * 3, [10.0] * 3, 8) == 30
    assert duration([Job("features", None, threads=4)], [10.0], 2) == 10


def test_the_line(logs: Path) -> None:
    jobs = [Job("train", logs / f"cremad-aim-{seed}.tsv") for seed in (5, 6)]
    said = "jobs: 3 of 5 are done, 2 to run: about 2 min on 2 cores (by earlier runs here)"
    assert announcement(jobs, 5, 2) == said
    fresh = [*jobs, Job("paper_table", logs.parent / "paper/table2.tsv"), Job("study", None)]
    assert announcement(fresh, 7, 1) == (
        "jobs: 3 of 7 are done, 4 to run: about 4 min on 1 core (by earlier runs here; not counted, as none has run"
        " yet: paper_table)"
    )
    nothing = [Job("train", logs.parent / "elsewhere/x.tsv"), Job("study", None)]
    assert announcement(nothing, 2, 2).endswith("2 to run; how long they take is told once some have run here")
    assert "about" not in announcement(jobs, 5, None)


def test_words() -> None:
    assert [in_words(x) for x in (0.2, 40, 100, 3600, 12600)] == ["1 s", "40 s", "2 min", "60 min", "3.5 h"]
