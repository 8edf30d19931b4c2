"""HTTP with patience: retries with growing pauses, http and https only."""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from email.message import Message
from typing import Any, TypeVar
from urllib.parse import urlsplit

ATTEMPTS = 5
PAUSE = 0.5  # seconds before the second attempt; doubles each time
TIMEOUT = 60.0  # seconds without a byte
Result = TypeVar("Result")


class WebError(Exception):
    """A request that failed for good; `status` is HTTP's code, or None when there was no answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def open_url(url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> http.client.HTTPResponse:
    """Send a request once (POST when there is a body) and return the open answer.

    Raises:
        WebError: an address that is not http(s), no answer, or a status of 400 and above (the message holds the
            answer's first words).
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else None  # a port that is none raises
        if parts.scheme not in ("http", "https") or not host or set("<>{}[] $") & set(host):
            raise WebError(f"{shown(url)} is not an http address", 400)
        request = urllib.request.Request(url, data=body, headers={"User-Agent": "equimodal", **(headers or {})})
        answer: http.client.HTTPResponse = _OPENER.open(request, timeout=TIMEOUT)
        return answer
    except urllib.error.HTTPError as error:
        text = error.read(2000).decode("utf-8", "replace").strip()
        raise WebError(f"{shown(url)} answers {error.code} {error.reason}: {text[:300]}", error.code) from None
    except (http.client.InvalidURL, ValueError) as error:  # a port that is none, a name that cannot be one
        raise WebError(f"{shown(url)} is not an http address ({type(error).__name__})", 400) from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise WebError(f"no answer from {shown(url)}: {getattr(error, 'reason', error)}") from None


def shown(url: str) -> str:
    """An address as messages have it: without name, password and what follows `?`, which may be a key."""
    before, _, query = url.partition("?")
    scheme, _, rest = before.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{'://' if scheme else ''}{host.rpartition('@')[2]}{slash}{path}"[:200] + ("?..." if query else "")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """To http and https only, never from https to http; what tells who we are stays at the host it is for."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type, scheme) == ("https", "http"):
            raise WebError(f"{shown(req.full_url)} leads to {shown(newurl)}, which is not fetched", 400)
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and request.host != req.host:
            request.remove_header("Authorization")
        return request


_OPENER = urllib.request.build_opener(_Redirects)


def patiently(action: Callable[[], Result]) -> Result:
    """Run `action` until it succeeds; what a second try cannot mend (a status from 400 to 499 but 408 and 429) is
    raised at once.
    """
    for attempt in range(ATTEMPTS):
        try:
            return action()
        except WebError as error:
            lasting = error.status is not None and 400 <= error.status < 500 and error.status not in (408, 429)
            if lasting or attempt == ATTEMPTS - 1:
                raise
            time.sleep(PAUSE * 2**attempt)
    raise AssertionError("unreachable")


def get(url: str, most: int) -> bytes:
    """The whole answer to a GET, at most `most` bytes; retried.

    Raises:
        WebError: no answer, an error status, or a longer answer.
    """

    def once() -> bytes:
        with open_url(url) as answer:
            try:
                content = answer.read(most + 1)
            except (http.client.HTTPException, OSError) as error:
                raise WebError(f"{shown(url)} broke off: {error}") from None
        if len(content) > most:
            raise WebError(f"{shown(url)} is longer than {most} bytes", 413)
        return content

    return patiently(once)


def range_start(headers: Message) -> int | None:
    """First byte of a partial answer, from `Content-Range: bytes first-last/total`."""
    unit, _, rest = headers.get("Content-Range", "").partition(" ")
    first = rest.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdigit() else None
