"""Worker processes: results, failures, deaths."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from equimodal.errors import UserError
from equimodal.features import pool


def square(job: int) -> int:
    return job * job


def failing(job: int) -> int:
    if job == 3:
        raise ZeroDivisionError("three")
    if job == 5:
        raise UserError("five is\nwrong")
    return job


def dying(job: int) -> int:
    if job == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def stuck(job: int) -> tuple[int, str]:
    """Jobs 2 and 7 hold on for ever, inside C where no Python signal handler would run."""
    if job in (2, 7):
        ctypes.CDLL(None).sleep(1000)
    return job, "done"


def parent(job: int) -> tuple[int, int]:
    time.sleep(0.05)
    return os.getpid(), job


def test_every_job_is_done_once() -> None:
    assert sorted(pool.run(square, range(50), 2, str)) == [number * number for number in range(50)]
    assert list(pool.run(square, [], 2, str)) == []


def test_workers_share_the_work() -> None:
    assert len({process for process, _ in pool.run(parent, range(8), 2, str)}) == 2


def test_a_defect_shows_its_traceback_and_a_user_error_its_line() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError: three"):
        list(pool.run(failing, [3], 1, str))
    with pytest.raises(UserError, match="five is wrong"):
        list(pool.run(failing, [5], 1, str))


def test_a_killed_worker_is_one_line_that_names_the_job() -> None:
    with pytest.raises(UserError, match=r"a worker process died \(SIGKILL\) while reading clip 4: ") as caught:
        list(pool.run(dying, range(20), 2, lambda job: f"clip {job}"))
    assert "\n" not in str(caught.value)


def test_a_job_that_takes_too_long_is_given_up_and_the_others_are_done() -> None:
    limit = pool.Limit[int, tuple[int, str]](lambda job: 0.3, lambda job: (job, "given up"))
    found = dict(pool.run(stuck, range(20), 2, str, limit=limit))
    assert found == {job: "given up" if job in (2, 7) else "done" for job in range(20)}


def test_no_worker_outlives_an_unfinished_run() -> None:
    running = pool.run(parent, range(100), 2, str)
    processes = {next(running)[0] for _ in range(6)}
    running.close()
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, time\nfrom equimodal.features import pool\n"
        "def work(job):\n    open(f'{job}.pid', 'w').write(str(os.getpid()))\n    time.sleep(0.3)\n    return job\n"
        "if __name__ == '__main__':\n    for done in pool.run(work, range(1000), 2, str):\n        pass\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    _until(lambda: len(list(tmp_path.glob("*.pid"))) >= 2)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.kill()
    _, said = process.communicate(timeout=30)
    workers = {int(text) for file in tmp_path.glob("*.pid") if (text := file.read_text())}
    _until(lambda: not any(_runs(worker) for worker in workers))
    if number == signal.SIGINT:
        assert said.count("Traceback") == 1  # the parent's own KeyboardInterrupt, nothing from workers


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _until(condition: object, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
