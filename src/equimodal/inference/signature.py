"""The tables that a served model takes and gives, told from its description alone: no torch here."""

from equimodal.inference.description import Description


def asked(about: Description) -> dict[str, str]:
    """Columns that a table of clips may have (none of them must be there): name -> MLflow's type."""
    media = any(not entry.array for entry in about.inputs)
    files = [*(["path"] if media else []), *about.modalities, "id"]
    return {**dict.fromkeys(files, "string"), "start": "double", "end": "double"}


def answered(about: Description) -> dict[str, str]:
    """Columns of the answer: name -> MLflow's type."""
    if about.task == "regression":
        return {"id": "string", "prediction": "double"}
    numbers = ["probability", *(f"p:{name}" for name in about.classes)]
    return {"id": "string", "prediction": "string", **dict.fromkeys(numbers, "double")}


def example(about: Description) -> dict[str, str]:
    """One row of `asked`: a clip that has every modality in one file, and arrays in files of their own."""
    arrays = {entry.name: f"{entry.name}.npy#0" for entry in about.inputs if entry.array}
    return {**({} if len(arrays) == len(about.inputs) else {"path": "clip.mp4"}), **arrays}
