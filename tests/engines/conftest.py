"""What the tests of the engines share."""

from collections.abc import Callable, Iterator

import pytest

from equimodal.engines import closure


@pytest.fixture(autouse=True)
def look_anew() -> Iterator[Callable[[], None]]:
    """Has the closure read files again: before and after each test, and when called."""

    def forget() -> None:
        for cached in (closure.code_files, closure._sha256, closure._file, closure._imports):
            cached.cache_clear()

    forget()
    yield forget
    forget()
