"""How far a long loop over clips is: a bar on a terminal, a line every ten seconds in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

# Seconds between lines where stderr is no terminal.
INTERVAL = 10.0


def watched(items: Iterable[Item], total: int, title: str, unit: str = "clips") -> Iterator[Item]:
    """Pass items through and show on stderr how many have come, how many a second, and the time left."""
    if not sys.stderr.isatty():
        yield from _lines(items, total, title, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} " + unit + "/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total, rate=0.0)
        begin = time.monotonic()
        for count, item in enumerate(items, 1):
            yield item
            bar.update(task, completed=count, rate=count / (time.monotonic() - begin))


def _lines(items: Iterable[Item], total: int, title: str, unit: str) -> Iterator[Item]:
    begin = last = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= INTERVAL or count == total:
            last = now
            rate = count / (now - begin)
            print(
                f"{title}: {count} of {total} {unit}, {rate:.0f} a second, {(total - count) / rate:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
