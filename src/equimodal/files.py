"""What stands in the place of a file that is to be read."""

import stat
from collections.abc import Callable
from pathlib import Path

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def no_file(path: Path | str) -> str | None:
    """Why there is no file to be read at a path, in words that go on after it ("does not exist", "is a folder, not a
    file"); None if there is one.
    """
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return "is a link to nothing" if Path(path).is_symlink() else "does not exist"
    except OSError as error:  # links in a circle, a name too long, a folder that may not be looked into
        return f"cannot be read ({error.strerror})"
    except ValueError:
        return "is no path (it holds a NUL character)"
    return next((f"is {words}, not a file" for kind, words in _KINDS if kind(mode)), None)
