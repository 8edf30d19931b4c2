"""How far a long loop is: a bar on a terminal, a line every ten seconds in a log. Every room may use it."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

# Seconds between lines where stderr is no terminal; a shorter loop leaves none.
INTERVAL = 10.0
REFRESH = 0.1  # seconds between two states of the bar


def watched(items: Iterable[Item], total: int, title: str, unit: str = "clips", shown: bool = True) -> Iterator[Item]:
    """Pass items through and show on stderr how many have come, how many a second, and the time left.

    It works between items only, without a thread: what an item costs may be measured. `shown: False` passes them
    through and no more.
    """
    if not shown:
        yield from items
    elif sys.stderr.isatty():
        yield from _bar(items, total, title, unit)
    else:
        yield from _lines(items, total, title, unit)


def _bar(items: Iterable[Item], total: int, title: str, unit: str) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} " + unit + "/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
        task = bar.add_task(title, total=total, rate=_rate(0.0))
        bar.refresh()
        begin = last = time.monotonic()
        for count, item in enumerate(items, 1):
            yield item
            now = time.monotonic()
            if now - last >= REFRESH or count == total:
                last = now
                bar.update(task, completed=count, rate=_rate(count / max(now - begin, 1e-9)), refresh=True)


def _lines(items: Iterable[Item], total: int, title: str, unit: str) -> Iterator[Item]:
    begin = last = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= INTERVAL or (count == total and now - begin >= INTERVAL):
            last = now
            rate = count / max(now - begin, 1e-9)
            print(
                f"{title}: {count} of {total} {unit}, {_rate(rate)} a second, {(total - count) / rate:.0f} s left",
                file=sys.stderr,
                flush=True,
            )


def _rate(value: float) -> str:
    """Two digits at least: a step of training may take seconds."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
