"""Figures: what is drawn, from what, and that equal input gives equal bytes."""

from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

import made_results
from equimodal.report.curves import Curves
from equimodal.report.figures import confusion, imbalance, scores, training
from equimodal.report.figures import cosines as prototypes
from equimodal.report.figures.style import PALETTE, color, save, style


@pytest.fixture(autouse=True)
def styled():
    with style():
        yield


def curves(modulated=False, seeds=3, modalities=("audio", "visual")):
    return Curves([made_results.curves(seed, modulated, modalities) for seed in range(seeds)])


def words(figure: Figure) -> str:
    return " | ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def every_figure(result, of_seeds, logs):
    return {
        "curves": training.draw(result, of_seeds),
        "imbalance": imbalance.draw(result),
        "confusion": confusion.draw(result),
        "scores": scores.draw_scores(result, of_seeds),
        "alpha": scores.draw_alpha(result, of_seeds),
        "prototypes": prototypes.draw(result, logs),
    }


def test_generated_samples_are_named_in_every_figure():
    logs = [made_results.log(seed)["log"] for seed in range(3)]
    for source in ("sample", "local"):
        for name, figure in every_figure(
            made_results.made("aim", source=source, start_epoch=3), curves(True), logs
        ).items():
            assert ("source: sample" in words(figure)) == (source == "sample"), name
            assert "made_aim" in words(figure), name


def test_any_name_of_a_class_is_drawn_and_svg_stays_valid(tmp_path):
    names = ["$x$", "$\\frac{1}$", "_a^b", "a\0b\x1b\n", "\x85\ud800\uffff", "--><&\"'", "\\$"]
    result = made_results.made(classes=len(names)).model_copy(update={"classes": names})
    figure = confusion.draw(result)
    save(figure, tmp_path / "confusion")
    ElementTree.parse(tmp_path / "confusion.svg")
    drawn = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert drawn[3:5] == ["a\ufffdb\ufffd\ufffd", "\ufffd" * 3]
    for name, text in zip(names, drawn, strict=True):
        label = Text(text=text)
        shown, is_formula = label._preprocess_math(text)
        assert not is_formula and ("$" not in name or shown == name)


def test_same_input_same_bytes(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        result = made_results.made("aim", start_epoch=3)
        for name, figure in every_figure(
            result, curves(True), [made_results.log(seed)["log"] for seed in range(3)]
        ).items():
            save(figure, tmp_path / folder / name)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(names) == 12
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_bytes_do_not_depend_on_the_users_settings(tmp_path):
    import matplotlib

    from equimodal.report.figures.style import style as fresh

    def drawn(name):
        with fresh():
            save(training.draw(made_results.made(), curves()), tmp_path / name)
        return (tmp_path / f"{name}.svg").read_bytes()

    plain = drawn("plain")
    matplotlib.rcParams["axes.facecolor"] = "pink"
    matplotlib.rcParams["font.size"] = 20
    assert drawn("other") == plain


def test_curves_mean_over_seeds_by_modality():
    axes = training.draw(made_results.made(), curves()).axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert {"validation, fused", "validation, audio (split)", "validation, visual (split)", "training, fused"} <= set(
        lines
    )
    expected = np.mean(
        [[row["metrics"]["val/visual/accuracy"] for row in made_results.curves(seed)["epochs"]] for seed in range(3)],
        axis=0,
    )
    assert lines["validation, visual (split)"].get_ydata() == pytest.approx(100 * expected)
    assert len(axes.collections) == 4  # a band each


def test_one_modality_has_one_validation_curve():
    axes = training.draw(made_results.made("audio", modalities=("audio",)), curves(modalities=("audio",))).axes[0]
    assert [line.get_label() for line in axes.get_lines() if line.get_label().startswith("validation")] == [
        "validation, audio"
    ]
    assert len(imbalance.draw(made_results.made("audio", modalities=("audio",))).axes) == 2  # no alpha


def test_scores_have_a_panel_a_depth_and_auxiliaries_only_where_they_exist():
    figure = scores.draw_scores(made_results.made("aim"), curves(True))
    assert [axes.get_title("left") for axes in figure.axes] == ["depth 1", "depth 2", "depth 3", "depth 4"]
    labels = [line.get_label() for line in figure.axes[0].get_lines()]
    assert any("auxiliary" in label for label in labels) and not any("good" in label for label in labels)


def test_unmodulated_epochs_are_not_drawn():
    line = scores.draw_scores(made_results.made("aim"), curves(True)).axes[0].get_lines()[0]
    assert line.get_xdata().min() == made_results.START + 1


def test_without_prototypes_the_figure_says_so():
    label = made_results.made("aim-label", scores="label")
    assert "no prototypes" in words(prototypes.draw(label, [made_results.log(0)["log"]]))
    assert "no scores" in words(scores.draw_scores(made_results.made("aim"), curves()))
    assert "no alpha" in words(scores.draw_alpha(made_results.made("aim"), curves()))


def test_prototype_maps_are_means_over_seeds():
    logs = [made_results.log(seed)["log"] for seed in range(2)]
    figure = prototypes.draw(made_results.made("aim"), logs)
    images = [axes.get_images()[0].get_array() for axes in figure.axes if axes.get_images()]
    assert len(images) == 8
    assert np.asarray(images[5]) == pytest.approx(np.mean([log["cosine"]["visual"][1] for log in logs], axis=0))


def test_confusion_rows_add_up_to_100_percent():
    image = confusion.draw(made_results.made(classes=6)).axes[0].get_images()[0]
    assert np.asarray(image.get_array()).sum(1) == pytest.approx(np.full(6, 100))


@pytest.mark.parametrize("classes", [2, 51, 101])
def test_any_number_of_classes(classes, tmp_path):
    save(confusion.draw(made_results.made(classes=classes)), tmp_path / "confusion")
    assert (tmp_path / "confusion.png").stat().st_size > 0


def test_a_modality_keeps_its_colour():
    both = made_results.made()
    assert color("visual", both.data.modalities) == PALETTE[1]
    alone = made_results.made("visual", modalities=("visual",))
    assert color("visual", alone.data.modalities) == PALETTE[1]
