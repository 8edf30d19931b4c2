"""What a diagnosis looks like, and how it is kept."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from torch import nn

import diagnosis_toys as toys
import equimodal
from equimodal.diagnosis.report import Diagnosis
from equimodal.errors import UserError

HOSTILE = ("<script>a</script>", 'b" & $x_1$ \\\x01')


@pytest.fixture(scope="module")
def report() -> Diagnosis:
    """Everything measured, of an imbalanced model whose modalities have names that no page must run."""
    model, batches = toys.trained({"audio": 3.0, "visual": 0.3}, samples=200)
    names = dict(zip(HOSTILE, ("audio", "visual"), strict=True))
    encoders = {name: f"encoders.{own}" for name, own in names.items()}
    found: Diagnosis = equimodal.diagnose(
        model,
        batches,
        modalities=names,
        measures="all",
        encoders=encoders,
        layers={name: [f"{own}.0", own] for name, own in encoders.items()},
        decision="head",
        replicates=500,
    )
    return found


def test_json_is_read_back(report: Diagnosis) -> None:
    text = report.to_json()
    assert equimodal.Diagnosis.from_json(text) == report
    with pytest.raises(UserError, match=r"no diagnosis of this version \(samples"):
        Diagnosis.from_json(text.replace('"samples": 200', '"samples": "many"'))
    with pytest.raises(UserError, match="no diagnosis"):
        Diagnosis.from_json("[]")


def test_equal_seeds_give_equal_reports_and_others_other_intervals() -> None:
    model, batches = toys.trained({"audio": 2.0, "visual": 2.0}, samples=150)
    one, same, other = (equimodal.diagnose(model, batches, modalities=["audio", "visual"], seed=s) for s in (1, 1, 2))
    assert one.to_json() == same.to_json()
    assert one.full.value == other.full.value
    assert (one.full.low, one.measure("permutation")) != (other.full.low, other.measure("permutation"))


def test_text_says_everything(report: Diagnosis) -> None:
    text = str(report)
    assert report.verdict in text
    for measured in report.measures:
        assert measured.title in text
        # What each quantity is, in its own line
        assert f"  ({measured.numbers})" in text.splitlines()
        told = {part.partition(":")[0].strip() for part in measured.numbers.split(";")}
        assert {entry.quantity for entry in measured.entries} <= told
        for entry in measured.entries:
            assert f"{entry.estimate.value:.3f}" in text
    assert len(report.findings) >= 2
    assert all(finding.text in text for finding in report.findings)
    assert all(advice.method in text for advice in report.advice)
    assert "95% bootstrap intervals over samples (500 resamples, seed 0)" in text


class Reads(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "style")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_runs_nothing(report: Diagnosis, tmp_path: Path) -> None:
    report.to_html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Reads()
    page.feed(text)
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert page.tags.count("svg") == len(report.measures) - 1, "all but EMAP's two numbers have a figure"
    outside = [link for link in page.links if re.search(r"(https?:)?//|url\((?!#)", link)]
    assert outside == []
    assert "@import" not in text and not re.search(r"url\(\s*['\"]?http", text)
    assert report.verdict in page.text
    assert all(name in page.text for name in HOSTILE)
    assert all(entry.text in page.text for entry in report.findings)
    for figure in re.findall("<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(figure)
    report.to_html(tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == text


def test_a_class_name_is_text_too(tmp_path: Path) -> None:
    model, batches = toys.trained({"audio": 2.0, "visual": 2.0}, samples=60)

    def forward(self: nn.Module, inputs: object) -> object:
        return model(inputs)

    named = type("<b>", (nn.Module,), {"forward": forward})()
    equimodal.diagnose(named, batches, modalities=["audio", "visual"], measures="zero").to_html(tmp_path / "p.html")
    assert "<b>" not in (tmp_path / "p.html").read_text(encoding="utf-8")
