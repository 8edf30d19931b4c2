"""What is published about CREMA-D: sizes and checksums of its files, and the OGM-GE split lists. Facts are pinned,
lists never shipped.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from equimodal.datasets.base import FileFact, some_of
from equimodal.datasets.fetch.checksums import read_checksums
from equimodal.datasets.fetch.web import WebError, get
from equimodal.datasets.pointers import POINTER, POINTER_BYTES
from equimodal.errors import UserError
from equimodal.progress import watched
from equimodal.store import atomic

HOME = "https://github.com/CheyneyComputerScience/CREMA-D"
# the maintainers' own, for when GitHub's LFS budget is spent (their issue 15)
MIRROR = "https://gitlab.com/cs-cooper-lab/crema-d-mirror"
POINTERS = "https://raw.githubusercontent.com/CheyneyComputerScience/CREMA-D"
COMMITS = {
    "AudioWAV": "f06ffd71c7065ae7e30587f31b96662c44c80f78",
    "VideoFlash": "02f12b39b56c8424039d0a953b89d47fc47d380f",
}
PROBE = "AudioWAV/1001_DFA_ANG_XX.wav"  # one that is there, to see what a server answers
CLIPS = 7442
ORIGIN_BYTES = 605_899_936 + 2_443_021_141  # all wav + all flv
# Sha256 of the sorted lines "path,sha256,bytes" of all wav and flv files: whatever brought the facts, they are these.
FACTS_SHA256 = "76d5e44da437b2d1a49cf46969248c1643a0d87ee0079d18f32c13d3eae8a3bb"

# The short commit may not resolve everywhere; either way the content is pinned below.
OGM_HOMES = tuple(
    f"https://raw.githubusercontent.com/GeWu-Lab/OGM-GE_CVPR2022/{at}/data/CREMAD" for at in ("343dc1d", "main")
)
# Sha256 of the lines joined by "\n", without byte-order mark and carriage returns, which vary from copy to copy.
OGM_SHA256 = {
    "train": "4907a298a2de79ded9ac1dcb899fbc73667f48a34fdc56058a617115ba13279a",
    "test": "070a046d6229e6b944402fa39efe15b9c039fb199d8fe66d67693ec5a760b662",
}
OGM_CACHE = Path(".equimodal/downloads/cremad_ogm")

_MEDIA = re.compile(
    r"(AudioWAV/\d{4}_[A-Z]{3}_[A-Z]{3}_[A-Z]{2}\.wav|VideoFlash/\d{4}_[A-Z]{3}_[A-Z]{3}_[A-Z]{2}\.flv)"
)
# How the names of the clips begin that the scheme allows and the repository lacks.
UNPUBLISHED = ("1002_TIE_NEU", "1008_WSI", "1009_MTI", "1019_ITH", "1076_ITS_NEU")
_SENTENCES = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")


def load_facts(manifest: str | None, root: Path, key: str, url: str | None = None) -> dict[str, FileFact]:
    """Size and sha256 of every wav and flv file.

    From the CSV `manifest` if given; else from the repository's LFS pointers at a pinned commit, kept as
    lfs_manifest.csv below `root`. With a mirror `url` they come from there if it gives them, else from the public
    repository; either way they must be the pinned ones.

    Raises:
        UserError: no such CSV, a column missing, no network, or facts that are not the pinned ones.
    """
    if manifest is not None:
        return read_facts(Path(manifest), key)
    kept = root / "lfs_manifest.csv"
    if not kept.is_file():
        facts = pointer_facts(pointer_home(url, key), possible_files(), key)
        check_pinned(facts, "the repository's LFS pointers", key)
        with atomic(kept) as scratch:
            scratch.write_text("path,sha256,bytes\n" + facts_text(facts), encoding="utf-8")
    facts = read_facts(kept, key)
    check_pinned(facts, str(kept), key)
    return facts


def read_facts(path: Path, key: str) -> dict[str, FileFact]:
    """Read a CSV with the columns path, sha256, bytes; rows that are no wav or flv clip are passed over."""
    facts = read_checksums(path, key, _MEDIA.fullmatch)
    if not facts:
        raise UserError(f"{path} lists no AudioWAV/*.wav or VideoFlash/*.flv: {key} must name CREMA-D's manifest")
    return facts


def facts_text(facts: Mapping[str, FileFact]) -> str:
    """Sorted lines "path,sha256,bytes"."""
    return "".join(f"{path},{fact.sha256},{fact.bytes}\n" for path, fact in sorted(facts.items()))


def check_pinned(facts: Mapping[str, FileFact], origin: str, key: str) -> None:
    """Refuse facts that are not CREMA-D's as pinned here."""
    if hashlib.sha256(facts_text(facts).encode()).hexdigest() != FACTS_SHA256:
        raise UserError(
            f"{origin} gave {len(facts)} files that are not the pinned {2 * CLIPS}: delete it and run again,"
            f" or set {key} to a manifest CSV"
        )


def published_files() -> list[str]:
    """Path of every wav and flv of CREMA-D."""
    return [name for name in possible_files() if not name.partition("/")[2].startswith(UNPUBLISHED)]


def possible_files() -> list[str]:
    """Every name CREMA-D's scheme allows (91 actors, 12 sentences, one of them at three levels);
    20 clips were never published.
    """
    stems = []
    for actor in range(1001, 1092):
        for sentence in _SENTENCES:
            for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"):
                levels = ("LO", "MD", "HI") if sentence == "IEO" and emotion != "NEU" else ("XX",)
                stems += [f"{actor}_{sentence}_{emotion}_{level}" for level in levels]
    return [f"AudioWAV/{stem}.wav" for stem in stems] + [f"VideoFlash/{stem}.flv" for stem in stems]


def pointer_home(url: str | None, key: str) -> str:
    """Address below which commit/path is a file's LFS pointer: `url`/raw (GitLab, Gitea) if that serves pointers, else
    the public repository's.

    Raises:
        UserError: neither does: what each answered.
    """
    if url is None or url.rstrip("/") == HOME:
        return POINTERS
    homes = (f"{url.rstrip('/').removesuffix('.git')}/raw", POINTERS)
    troubles = []
    for home in homes:
        address = f"{home}/{COMMITS['AudioWAV']}/{PROBE}"
        try:
            if POINTER.fullmatch(get(address, most=POINTER_BYTES)):
                return home
            troubles.append(f"{address} is not an LFS pointer")
        except WebError as error:
            # Some servers (GitLab among them) may send the clip itself, which is longer than any pointer.
            troubles.append(f"{address} is a file, not its LFS pointer" if error.status == 413 else str(error))
    raise UserError(
        f"no LFS pointers of CREMA-D to be had ({'; '.join(troubles)}): set {key} to a CSV with path, sha256, bytes"
    )


def pointer_facts(base: str, names: Iterable[str], key: str, jobs: int = 16) -> dict[str, FileFact]:
    """Read git LFS pointers at `base`/commit/name: small text files with sha256 and size.

    Names that do not exist (404) are left out.

    Raises:
        UserError: no network, or something that is not a pointer.
    """

    def one(name: str) -> tuple[str, FileFact | None]:
        try:
            text = get(f"{base}/{COMMITS[name.partition('/')[0]]}/{name}", most=POINTER_BYTES)
        except WebError as error:
            if error.status == 404:
                return name, None
            raise UserError(
                f"cannot read CREMA-D's LFS pointers: {error}; set {key} to a CSV with path, sha256, bytes"
            ) from None
        match = POINTER.fullmatch(text)
        if match is None:
            raise UserError(f"{base}/{name} is not a git LFS pointer: set {key} to a CSV with path, sha256, bytes")
        return name, FileFact(int(match[2]), match[1].decode())

    listed = list(names)
    pool = ThreadPoolExecutor(jobs)
    try:
        found = dict(watched(pool.map(one, listed), len(listed), "reading LFS pointers", "files"))
    finally:
        pool.shutdown(cancel_futures=True)
    return {name: fact for name, fact in found.items() if fact is not None}


def ogm_lists(folder: str | None, key: str) -> dict[str, frozenset[str]]:
    """The OGM-GE split: "train" (6,698) and "test" (744) -> clip names.

    Args:
        folder: where train.csv and test.csv are ("stem,LABEL" per line, with or without byte-order mark); None
            downloads them once.
        key: the setting's name, for messages.

    Raises:
        UserError: a list is missing, malformed, contradicts the file names, or shares a clip with the other.
    """
    lists = {}
    for part in ("train", "test"):
        path = (OGM_CACHE if folder is None else Path(folder)) / f"{part}.csv"
        if folder is None and not path.is_file():
            _download_list(part, path, key)
        try:
            lines = _lines(path.read_bytes())
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}): {key} must name a folder with train.csv and"
                " test.csv, or be null"
            ) from None
        if folder is None and _digest(lines.values()) != OGM_SHA256[part]:
            raise UserError(
                f"{path} is not the published list (checksum differs): delete it and run again, or set {key}"
            )
        for number, line in lines.items():
            stem, _, label = line.partition(",")
            if stem.split("_")[2:3] != [label]:
                raise UserError(
                    f"{path}, line {number}: '{line[:60]}' is not 'stem,LABEL' with the label of the name (as"
                    " 1041_TIE_NEU_XX,NEU)"
                )
        lists[part] = frozenset(line.partition(",")[0] for line in lines.values())
    both = sorted(lists["train"] & lists["test"])
    if both:
        raise UserError(
            f"{len(both)} clips are in both train.csv and test.csv ({some_of(both)}): mend the lists at {key}"
        )
    return lists


def _download_list(part: str, path: Path, key: str) -> None:
    """Fetch one list, check it, keep it."""
    trouble = ""
    for home in OGM_HOMES:
        try:
            content = get(f"{home}/{part}.csv", most=1_000_000)
        except WebError as error:
            trouble = str(error)
            continue
        if _digest(_lines(content).values()) == OGM_SHA256[part]:
            with atomic(path) as scratch:
                scratch.write_bytes(content)
            return
        trouble = f"{home}/{part}.csv is not the pinned list"
    raise UserError(f"cannot download the ogm split: {trouble}; set {key} to a folder with train.csv and test.csv")


def _lines(content: bytes) -> dict[int, str]:
    """Number in the file -> line, of those that are not empty."""
    lines = enumerate(content.decode("utf-8-sig", "replace").splitlines(), 1)
    return {number: text for number, line in lines if (text := line.strip())}


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
