"""The JSON schema of result files, generated from their type:
`python -m equimodal.report.schema` writes it, a test compares.
"""

from pathlib import Path
from typing import Any

from equimodal.report.result import Result
from equimodal.store import write_json

PATH = Path("workflow/schemas/result.schema.json")


def result_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of results/D_M.json; every field is required, null or not."""
    schema = Result.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "equimodal result", **schema}


if __name__ == "__main__":
    write_json(PATH, result_schema())
