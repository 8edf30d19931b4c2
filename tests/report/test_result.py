"""Reading result files."""

import pytest

import made_results
from equimodal.errors import UserError
from equimodal.report.aggregate import result
from equimodal.report.result import Result
from equimodal.store import write_json


def test_reads_back_what_was_written(tmp_path):
    written = made_results.write(tmp_path)
    assert Result.read(tmp_path / "results" / "made_joint.json") == written
    assert written.name == "made_joint"
    assert written.own_readout == "split"


def test_foreign_file_is_one_line(tmp_path):
    write_json(tmp_path / "other.json", {"dataset": "made"})
    with pytest.raises(UserError, match=r"other\.json is no result of this version \(source: Field required\)"):
        Result.read(tmp_path / "other.json")


def test_missing_file_says_how_to_build_it(tmp_path):
    with pytest.raises(UserError, match="is missing: build it first"):
        Result.read(tmp_path / "results" / "made_joint.json")


def test_modalities_are_read_in_their_declared_order(tmp_path):
    """In the file keys are sorted."""
    names = ("visual", "audio")
    made = result([0], [made_results.evaluation(0, modalities=names)], {"training": 40.5})
    write_json(tmp_path / "made.json", made.model_dump(mode="json"))
    read = Result.read(tmp_path / "made.json")
    assert read == made
    for mapping in (read.data.modalities, read.imbalance.s, *read.selection.val.modalities.values()):
        assert list(mapping) == ["visual", "audio"]
