"""Harnesses that try to break it: each counts its tries, and their figures stand at the end of the screen."""

import random
from collections.abc import Iterator

import pytest

from robustness.tally import Tally


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Draws of one harness: the same for a seed of the command line, whatever else runs."""
    return random.Random(f"{request.config.getoption('--seed')} {request.node.nodeid}")


@pytest.fixture
def tally(request: pytest.FixtureRequest, record_property) -> Iterator[Tally]:
    """Counts of one harness, printed when all are done; a try that went wrong fails the test, after the last."""
    counts = Tally()
    yield counts
    record_property("tally", f"{request.node.name}: {counts}")
    assert not counts.failures, "\n".join(counts.failures[:20])


def pytest_terminal_summary(terminalreporter) -> None:
    """Print each harness's figures."""
    lines = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "teardown"
        for name, value in report.user_properties
        if name == "tally"
    ]
    if lines:
        terminalreporter.section("tries")
        for line in sorted(lines):
            terminalreporter.write_line(line)
