"""Addresses: which are none, what messages show of them, and where an answer may lead."""

import urllib.request
from http.client import HTTPMessage
from io import BytesIO

import pytest

from equimodal.datasets.fetch import web
from equimodal.datasets.fetch.web import WebError, open_url, shown


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.b/c",
        "file:///etc/passwd",
        "http://",
        "http:///c",
        "http://[::1",
        "http://<host>/c",
        "https://{server}/c",
        "http://a.b:port/c",
        "http://a.b:99999999/c",
        f"http://{'a' * 70}.b/c",
        "https://a..b/c",
        "mosi.pkl",
        "",
    ],
)
def test_what_is_no_address_is_told_at_once(url: str) -> None:
    with pytest.raises(WebError, match="is not an http address") as caught:
        open_url(url)
    assert caught.value.status == 400, "which is not tried again"


def test_messages_show_neither_password_nor_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown("https://me:secret@a.b/c@d/e?token=secret#f") == "https://a.b/c@d/e?..."
    assert shown("https://a.b/c") == "https://a.b/c" and shown("me:secret@a.b") == "a.b"
    for url in ("http://me:secret@127.0.0.1:9/c?secret", "me:secret@a.b/c", "http://me:secret@a.b:x/c"):
        with pytest.raises(WebError) as caught:
            open_url(url)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "then", "followed"),
    [
        ("http://a.b/c", "http://a.b/d", True),
        ("http://a.b/c", "https://a.b/d", True),
        ("https://a.b/c", "http://a.b/d", False),
        ("http://a.b/c", "ftp://a.b/d", False),
        ("http://a.b/c", "file:///etc/passwd", False),
    ],
)
def test_answers_lead_to_no_other_scheme(first: str, then: str, followed: bool) -> None:
    request = urllib.request.Request(first, headers={"Authorization": "secret"})

    def redirected() -> urllib.request.Request | None:
        return web._Redirects().redirect_request(request, BytesIO(), 302, "Found", HTTPMessage(), then)

    if followed:
        found = redirected()
        assert found is not None and found.full_url == then and found.has_header("Authorization")
    else:
        with pytest.raises(WebError, match="leads to"):
            redirected()


def test_what_tells_who_we_are_stays_at_its_host() -> None:
    request = urllib.request.Request("https://a.b/c", headers={"Authorization": "secret", "User-Agent": "equimodal"})
    found = web._Redirects().redirect_request(request, BytesIO(), 302, "Found", HTTPMessage(), "https://store.d/e")
    assert found is not None and not found.has_header("Authorization") and found.has_header("User-agent")
