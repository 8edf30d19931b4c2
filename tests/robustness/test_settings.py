"""params.yaml with something wrong in it: whatever it is, it ends in settings that `plan` takes, or in one line.

Values are replaced, sections moved, and the text itself is cut, doubled and sprinkled with bytes; of the shipped file
and of a small one, which costs a fifth. A forked process reads a hundred of them, within a limit of time and memory.
"""

import os
import random
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import tiny_dataset
from equimodal.errors import UserError
from equimodal.params import load_params
from equimodal.stages import plan
from robustness.tally import HANG, REFUSED, SURVIVED, TRACEBACK, Tally

TRIES, CHUNK = 1000, 100
SECONDS, BYTES = 2.0, 500 * 2**20
OF_THE_SHIPPED = 0.15

# words of YAML, so that any can stand in the text; numbers, words, sections and lists of every form that is asked for
WORDS = [
    *(
        "null",
        "~",
        "true",
        "off",
        "'off'",
        "'1'",
        "0",
        "-1",
        "1",
        "2",
        "3.0",
        "7",
        "64",
        "1e-3",
        "0.5",
        "-0.5",
        "1e308",
    ),
    *(
        "-1e308",
        "5e-324",
        "1e999",
        ".inf",
        "-.inf",
        ".nan",
        "1000000000000000000",
        "9" * 5000,
        "2147483648",
        "0_1",
        "012",
    ),
    *(
        "0x1F",
        "²",
        "''",
        "' '",
        "x",
        "cremad",
        "tiny",
        "joint",
        "aim",
        "audio",
        "sgd",
        "auto",
        "custom",
        "ogm",
        "download",
    ),
    *("sample", "../..", "/dev/zero", "/", '"a\\0b"', '"a\\nb"', "'" + "x" * 300 + "'", "x" * 5000, "2026-11-30"),
    *(
        "2026-99-99",
        "12:30:45",
        "!!int x",
        "!!python/object:os.system x",
        "!x y",
        "&a x",
        "*a",
        "*b",
        "<<",
        "=",
        "[]",
        "{}",
    ),
    *(
        "[1]",
        "[1, 1, 1, -1]",
        "[0.5, 1.0]",
        "[1, 2]",
        "[[1]]",
        "[x, x]",
        "[joint]",
        "{a: 1}",
        "{kind: frames}",
        "{x: {x: 1}}",
    ),
    *("{kind: {}}", "{base: aim}", "{base: x}", "{preset: {}}", "http://x", "https://a.b/c", "f" * 64, "🦉", "\u200b"),
    *("[" * 50 + "]" * 50, "{a: " * 50 + "1" + "}" * 50, "[" * 30_000),
]
MARKS = [
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "? ",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "#",
    "'",
    '"',
    "|",
    ">",
    "%",
    "@",
    "\t",
    "---\n",
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to every value."""
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(below, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


def near(rng: random.Random, value: Any) -> Any:
    """Another value of the same form."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        factor = 10.0 ** rng.choice([-30, -3, -1, 1, 3, 9])
        return rng.choice([value + 1, value - 1, 0, -value, type(value)(value * factor)])
    if isinstance(value, list):
        return rng.choice([value[::-1], value[1:], value + value, value[:1] * len(value), value * 200])
    if isinstance(value, dict):
        return dict(rng.sample(list(value.items()), rng.randrange(len(value) + 1)))
    return rng.choice(
        ["constant", "cosine", "adamw", "sum", "gated", "stack", "zero", "all", "released", "none", "local"]
    )


def in_the_values(rng: random.Random, text: str) -> str:
    """One to three values or keys changed, taken away or put elsewhere."""
    values, words = yaml.safe_load(text), {}
    for count in range(rng.choice([1, 1, 1, 2, 3])):
        *parents, last = rng.choice(list(places(values)))
        holder, kind = at(values, tuple(parents)), rng.random()
        if kind < 0.3:
            words[f"WORD{count}"] = rng.choice(WORDS)
            holder[last] = f"WORD{count}"
        elif kind < 0.75:
            holder[last] = near(rng, holder[last])
        elif kind < 0.85:
            del holder[last]
        elif kind < 0.95 and isinstance(holder, dict):
            key = rng.choice(
                [str(last)[:-1], f"{last}x", f"{last}-2", rng.choice(WORDS[:20]), "base", "kind", "preset"]
            )
            holder[key] = holder.pop(last) if rng.random() < 0.5 else holder[last]
        else:
            holder[last] = at(values, rng.choice(list(places(values))))
    dumped = yaml.dump(values, Dumper=Plain, sort_keys=False, default_flow_style=rng.choice([None, False]), width=10**6)
    for name, word in words.items():
        dumped = dumped.replace(name, word)
    return dumped


class Plain(yaml.SafeDumper):
    """Writes what stands in two places twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def in_the_text(rng: random.Random, text: str) -> str | bytes:
    """Lines or bytes of it cut, doubled, moved or changed."""
    lines = text.splitlines(keepends=True)
    i, j = sorted(rng.sample(range(len(lines)), 2))
    some = rng.randrange(len(text))
    raw = bytearray(text.encode())
    kind = rng.randrange(9)
    if kind == 0:
        for _ in range(rng.choice([1, 3, 30])):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        return bytes(raw)
    if kind == 1:
        return bytes(raw[:some]) if rng.random() < 0.5 else bytes(raw[some:])
    if kind == 2:
        return "".join([*lines[:i], *lines[i:j][: rng.choice([1, 1, 5])], *lines[i:]])
    if kind == 3:
        return "".join([*lines[:i], *lines[j:]] if rng.random() < 0.3 else [*lines[:i], *lines[i + 1 :]])
    if kind == 4:
        lines[i], lines[j] = lines[j], lines[i]
        return "".join(lines)
    if kind == 5:
        lines[i] = " " * rng.choice([1, 2, 4]) + lines[i] if rng.random() < 0.5 else lines[i].lstrip()
        return "".join(lines)
    if kind == 6:
        return text[:some] + rng.choice(MARKS) * rng.choice([1, 1, 1, 2, 5000]) + text[some:]
    if kind == 7:
        return text[:some] + rng.choice(WORDS) + text[some + rng.randrange(5) :]
    bomb = "".join(f"a{n}: &b{n} [{', '.join([f'*b{n - 1}' if n else 'x'] * 9)}]\n" for n in range(9))
    return bomb + (text if rng.random() < 0.5 else "")


def documents(rng: random.Random, shipped: str, small: str) -> Iterator[bytes]:
    while True:
        text = shipped if rng.random() < OF_THE_SHIPPED else small
        change: Callable[..., str | bytes] = in_the_values if rng.random() < 0.65 else in_the_text
        made = change(rng, text)
        yield made if isinstance(made, bytes) else made.encode()


def outcome(document: bytes) -> tuple[str, str]:
    """What comes of one params.yaml, and what there is to say of it. The current folder is its own."""
    Path("params.yaml").write_bytes(document)
    try:
        params = load_params()
    except UserError as error:
        return (REFUSED if len(str(error)) < 1500 else TRACEBACK), str(error)
    except Exception as error:
        return TRACEBACK, repr(error)
    try:
        plan.run(params)
    except UserError as error:
        ours = str(error) in params.broken.values()
        return (REFUSED if ours else TRACEBACK), f"read, and refused by plan: {error}"
    except Exception as error:
        return TRACEBACK, f"read, but plan: {error!r}"
    return SURVIVED, ""


def read_all(todo: list[bytes], write: Any) -> None:
    """In a process of its own: a line each for those that are done."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # also where Python would not come back to hear it
    for document in todo:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        kind, said = outcome(document)
        signal.setitimer(signal.ITIMER_PROF, 0)
        write.write(f"{kind}\t{said!a}\n")
        write.flush()


def forked(todo: list[bytes]) -> Iterator[tuple[str, str]]:
    """What came of each, up to the one that the process died of."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            with os.fdopen(writing, "w") as write:
                read_all(todo, write)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as read:
        done = [line.rstrip("\n").partition("\t")[::2] for line in read]
    _, status = os.waitpid(child, 0)
    yield from done
    if len(done) < len(todo):
        number = os.waitstatus_to_exitcode(status)
        yield (HANG, f"{SECONDS} s") if number == -signal.SIGPROF else (TRACEBACK, f"the process ended with {number}")


@pytest.mark.slow
def test_whatever_stands_in_params_yaml_is_read_or_refused_in_one_line(
    root: Path, rng: random.Random, tally: Tally, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = yaml.safe_dump(tiny_dataset.raw_params(True), sort_keys=False)
    made = documents(rng, (root / "params.yaml").read_text(encoding="utf-8"), small)
    monkeypatch.chdir(tmp_path)
    for _ in range(0, TRIES, CHUNK):
        todo = [next(made) for _ in range(CHUNK)]
        while todo:
            for kind, said in forked(todo):
                document = todo.pop(0)
                kept = tmp_path / f"{tally.outcomes.total()}.yaml"
                if kind not in (SURVIVED, REFUSED):
                    kept.write_bytes(document)
                tally.add(kind, f"{kept}: {said}")
    assert tally.outcomes[SURVIVED] > TRIES / 20  # most mutations must not be of the kind that any reader refuses
