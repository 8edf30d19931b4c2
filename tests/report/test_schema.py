"""The shipped JSON schema is the type's, takes results, and refuses what is none."""

import copy

import jsonschema
import pytest

import made_results
from equimodal.report.schema import PATH, result_schema
from equimodal.store import read_json


@pytest.fixture(scope="module")
def shipped(root):
    return read_json(root / PATH)


def test_file_is_up_to_date(shipped):
    assert shipped == result_schema(), "run `python -m equimodal.report.schema`"


def test_schema_itself_is_valid(shipped):
    jsonschema.Draft202012Validator.check_schema(shipped)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("joint", {}),
        ("joint", {"seeds": 1, "source": "local"}),
        ("audio", {"modalities": ("audio",)}),
        ("aim", {"start_epoch": 3}),
    ],
    ids=["joint", "one seed", "one modality", "aim"],
)
def test_takes_results(shipped, method, options):
    jsonschema.validate(made_results.made(method, **options).model_dump(mode="json"), shipped)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r.pop("settings_digest"),
        lambda r: r.update(host="here"),
        lambda r: r["selection"].pop("last"),
        lambda r: r["selection"]["val"]["accuracy"].update(mean="0.8"),
        lambda r: r["selection"]["val"]["accuracy"].pop("interval95"),
        lambda r: r["imbalance"].update(prototypes="learned"),
        lambda r: r.update(seeds=[]),
    ],
    ids=[
        "missing digest",
        "unknown key",
        "missing rule",
        "text for a number",
        "missing interval",
        "other estimator",
        "no seeds",
    ],
)
def test_refuses_others(shipped, spoil):
    content = copy.deepcopy(made_results.made().model_dump(mode="json"))
    spoil(content)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, shipped)
