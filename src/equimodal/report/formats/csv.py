"""Numbers as CSV, unrounded."""

import csv
import io
from collections.abc import Sequence
from typing import Any


def csv_text(records: Sequence[dict[str, Any]]) -> str:
    """A row per record. Columns are the records' keys in order of appearance; a key that a record lacks, and None, are
    empty.
    """
    out = io.StringIO()
    heads = list(dict.fromkeys(key for record in records for key in record))
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    # repr of a float reads back as the same float.
    writer.writerows([["" if (value := record.get(key)) is None else value for key in heads] for record in records])
    return out.getvalue()
