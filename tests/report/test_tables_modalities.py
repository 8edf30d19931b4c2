"""Modalities inside the models: readouts by name, models of one modality beside, papers' numbers."""

import csv
import io

import made_results
from equimodal.report.overview import percent
from equimodal.report.tables.collection import Collection
from equimodal.report.tables.modalities import document


def made(dataset="made", source="local"):
    joint, alone = (
        made_results.of("joint", [0.6, 0.7], dataset, source=source),
        made_results.made("audio", 2, source=source, modalities=("audio",)),
    )
    alone = alone.model_copy(
        update={"dataset": dataset, "method": alone.method.model_copy(update={"kind": "unimodal"})}
    )
    return document(Collection.of([made_results.of("aim", [0.7, 0.7], dataset, source=source), alone, joint]))


def test_a_row_a_model_with_every_estimator_named():
    heads, rows = made().tables[0][1]
    assert heads == [
        "method",
        "audio (split)",
        "audio (probe)",
        "visual (split)",
        "visual (probe)",
        "gap (split)",
        "gap (probe)",
    ]
    assert [row[0] for row in rows] == ["joint", "audio", "aim"]
    joint = made_results.of("joint", [0.6, 0.7])
    assert rows[0][1] == percent(joint.selection.val.modalities["split"]["audio"])
    assert rows[0][4] == percent(joint.selection.val.modalities["probe"]["visual"])
    assert rows[1][3:] == ["–"] * 4 and rows[1][1] != "–"


def test_imbalance_by_depth_of_the_models_that_have_it():
    name, (heads, rows) = made().tables[1]
    assert "alpha" in name and heads[-1] == "depth 4"
    assert [row[0] for row in rows] == ["joint", "aim"]


def test_heads_without_split_weights_show_their_own_readout():
    film = made_results.of("joint", [0.6, 0.7])
    readouts = {name: values for name, values in film.selection.val.modalities.items() if name != "split"}
    val = film.selection.val.model_copy(update={"modalities": readouts})
    film = film.model_copy(update={"selection": film.selection.model_copy(update={"val": val})})
    assert document(Collection.of([film])).tables[0][1][0][1] == "audio (zero-feature)"


def test_papers_beside():
    found = made("cremad")
    heads, rows = found.tables[0][1]
    by_method = {row[0]: row[heads.index("visual, printed")] for row in rows}
    assert by_method == {"joint": "66.6 [aim] 35.1 [inforeg]", "audio": "–", "aim": "69.2 [aim]"}
    assert any("readout of Table I not stated" in line for line in found.lines)
    assert "printed" not in "".join(made("cremad", source="sample").tables[0][1][0])


def test_csv_reads_back():
    rows = list(csv.DictReader(io.StringIO(made().formats()[".csv"])))
    first = rows[0]
    assert (first["method"], first["modality"]) == ("joint", "audio")
    assert float(first["probe"]) == made_results.of("joint", [0.6, 0.7]).selection.val.modalities["probe"]["audio"].mean
    assert len(rows) == 5
