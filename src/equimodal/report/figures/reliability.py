"""What probabilities promise, and what comes of it."""

from matplotlib.figure import Figure

from equimodal.report.figures.style import canvas
from equimodal.report.result import Result


def draw(result: Result) -> Figure:
    """Accuracy over confidence on test, by bin, over all seeds; the diagonal is perfect calibration. Below: the bins'
    shares of the samples. Weights chosen on validation; of a classification only.
    """
    found = result.calibration
    assert found is not None
    figure = canvas(result, "calibration on test", 4.6, 4.6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    bins = len(found.count)
    middles = [(place + 0.5) / bins for place in range(bins)]
    known = [place for place in range(bins) if found.count[place]]
    top.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--", label="perfect")
    top.plot(
        [found.confidence[place] for place in known],  # type: ignore[arg-type]
        [found.accuracy[place] for place in known],  # type: ignore[arg-type]
        marker="o",
        markersize=4,
        label=f"expected calibration error {100 * found.ece.mean:.1f} %",
    )
    top.set_ylabel("accuracy")
    top.set_xlim(0, 1)
    top.set_ylim(0, 1)
    top.legend(loc="upper left")
    total = sum(found.count)
    bottom.bar(middles, [100 * count / total for count in found.count], width=0.9 / bins)
    bottom.set_ylabel("samples (%)")
    bottom.set_xlabel("confidence: the highest probability")
    return figure
