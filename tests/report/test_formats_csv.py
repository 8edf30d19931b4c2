"""CSV: columns of all records, numbers that read back, nothing where there is none."""

from equimodal.report.formats.csv import csv_text


def test_columns_numbers_and_gaps():
    records = [{"a": "x, y", "n": 0.1 + 0.2}, {"a": None, "m": 7}]
    assert csv_text(records) == 'a,n,m\n"x, y",0.30000000000000004,\n,,7\n'
