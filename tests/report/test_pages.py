"""Tables as Markdown and HTML."""

from html.parser import HTMLParser

from equimodal.report.pages import html, markdown

TABLES = [("One", (["a", "b"], [["x|y", "1"], ["<b>", "2"]]))]


def test_markdown_keeps_columns():
    lines = markdown("T", TABLES, ["text"]).splitlines()
    assert lines[0] == "# T"
    assert "| a | b |" in lines
    assert "| x\\|y | 1 |" in lines


def test_html_escapes_and_is_balanced():
    page = html("T & U", TABLES, ["first", "mind this"], note="mind this")
    assert "T &amp; U" in page and "&lt;b&gt;" in page
    assert "<p class=note>mind this</p>" in page and "<p>first</p>" in page

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
