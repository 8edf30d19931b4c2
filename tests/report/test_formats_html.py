"""HTML: escapes, marks, one page that stands alone."""

from html.parser import HTMLParser

from equimodal.report.formats.cells import Marked
from equimodal.report.formats.html import html

TABLES = [("One", (["a", "b"], [["x|y", "1"], ["<b>", "2"]]))]


def test_html_escapes_and_is_balanced():
    page = html("T & U", TABLES, ["first", "mind this", "Warning: few"], note="mind this")
    assert "T &amp; U" in page and "&lt;b&gt;" in page
    assert "<p class=note>mind this</p>" in page and "<p>first</p>" in page
    assert "<p class=note>Warning: few</p>" in page

    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attrs):
            if tag != "meta":
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    parser = Balance()
    parser.feed(page)
    assert parser.open == []


def test_marks():
    page = html(
        "T", [("One", (["a", "b"], [["x", Marked("<1>", "best")], ["y", Marked("2", "second")]]))], [], note=None
    )
    assert "<td><b>&lt;1&gt;</b></td>" in page and "<td><u>2</u></td>" in page
