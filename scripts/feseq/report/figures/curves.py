"""Curves of a model's predictions: ROC, precision-recall and calibration."""

import heapq
import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from ...common.logits import sigmoid
from .drawing import (
    BLUE,
    GREY,
    WIDTH,
    confidence,
    end_labels,
    frame,
    interval,
    log_ticks,
    new_figure,
    only_text,
    percent,
    styled,
    with_interval,
)

MOST_POINTS = 500  # of a curve
MOST_BINS = 20  # of the calibration
CLICKS_PER_BIN = 10  # and fewer bins where these are not there
# Probabilities below are drawn at the edge: -80 as a logit is 1e-35.
SMALLEST = 1e-6


@styled
def roc_pr_figure(label: np.ndarray, logit: np.ndarray, metrics: dict[str, Any]) -> Figure:
    """ROC and precision-recall curve, AUC and average precision with their intervals."""
    simulated = bool(metrics["simulated_data"])
    clicks, rows = int(label.sum()), len(label)
    if clicks in (0, rows):
        kind = "none was clicked" if clicks == 0 else "all were clicked"
        return only_text(f"Of {rows:,} rows {kind}: no ROC curve", simulated=simulated)
    figure = new_figure(9.4, 5.4)
    left, right = figure.subplots(1, 2)
    auc = interval(metrics["metrics"].get("auc"))
    precision = interval(metrics["metrics"].get("average_precision"))
    for ax, name, values in ((left, "AUC", auc), (right, "average precision", precision)):
        ax.grid()
        ax.set_title(f"{name}\n{with_interval(*values)}")
    _draw_roc(left, label, logit)
    notes = _draw_precision(right, label, logit)
    frame(
        figure,
        f"A clicked row scores higher than another one in {percent(auc[0], 3)} of pairs"
        if math.isfinite(auc[0])
        else "Clicked rows against the others",
        [
            f"Clicked: {clicks:,} of {rows:,} rows. In brackets: {confidence(metrics)} intervals.",
            *notes,
        ],
        simulated=simulated,
    )
    return figure


def _draw_roc(ax: Axes, label: np.ndarray, logit: np.ndarray) -> None:
    false, true, _ = roc_curve(label, logit)
    kept = thinned(false, true)
    ax.plot([0, 1], [0, 1], ":", color=GREY)
    ax.plot(false[kept], true[kept], "-", color=BLUE)
    # On the side of the diagonal where the curve is not.
    place = "top" if np.trapezoid(true, false) >= 0.5 else "bottom"
    ax.text(
        0.5,
        0.5,
        "chance",
        rotation=45,
        transform_rotates_text=True,
        rotation_mode="anchor",
        ha="center",
        va=place,
        color=GREY,
    )
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    ax.set(xlabel="share of the other rows", ylabel="share of the clicks")


def _draw_precision(ax: Axes, label: np.ndarray, logit: np.ndarray) -> list[str]:
    """Draw the precision-recall curve; returns what is to be noted."""
    clicks, rate = int(label.sum()), float(label.mean())
    recall, precision = precision_steps(label, logit)
    # The precision of the first clicks, 10 or 1 %, leaps; the frame is made for the rest.
    settled = precision[recall * clicks >= max(min(10, clicks), 0.01 * clicks) - 0.5]
    top = min(1.02, 1.25 * max(settled.max(), 2 * rate))
    kept = thinned(recall, np.minimum(precision, 1.5 * top) / top)
    ax.axhline(rate, linestyle=":", color=GREY)
    ax.plot(recall[kept], precision[kept], "-", color=BLUE)
    ax.set(xlim=(-0.01, 1.01), ylim=(0, top))
    ax.set(xlabel="share of the clicks (recall)", ylabel="clicks among the picked rows")
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    end_labels(ax, [(rate, f"chance:\n{percent(rate, 3)}", GREY)])
    return (
        ["The precision of the first clicks is above the frame."] if precision.max() > top else []
    )


def precision_steps(label: np.ndarray, logit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision as a line of steps; the area below is the average precision."""
    precision, recall, _ = precision_recall_curve(label, logit, drop_intermediate=True)
    # scikit-learn's last point, (0, 1), belongs to no threshold.
    precision, recall = precision[-2::-1], recall[-2::-1]
    # Of the thresholds of one recall, the highest: those below add rows without a click.
    first = np.flatnonzero(np.diff(recall, prepend=0) > 0)
    ends = np.concatenate([[0.0], recall[first]])
    return np.repeat(ends, 2)[1:-1], np.repeat(precision[first], 2)


@styled
def calibration_figure(label: np.ndarray, logit: np.ndarray, metrics: dict[str, Any]) -> Figure:
    """Predicted probability against the share of clicks, in bins of equally many rows."""
    bins = calibration_bins(label, logit)
    figure = new_figure(WIDTH, 5.6)
    ax = figure.subplots()
    ax.grid()
    notes = [
        f"{_bins(len(bins))} of {_between(bins[:, 2])} rows; bars: 95\u00a0% intervals; "
        f"dotted: as predicted.",
        *_draw_bins(ax, *bins.T),
    ]
    ax.set(xlabel="predicted probability", ylabel="share of clicks")
    error = with_interval(*interval(metrics["metrics"].get("calibration_error")), digits=4)
    predicted, clicked = bins[:, 0] @ bins[:, 2] / len(label), bins[:, 1].sum() / len(label)
    frame(
        figure,
        f"Predictions average {percent(predicted, 3)}, clicks {percent(clicked, 3)}; "
        f"calibration error {error}",
        notes,
        simulated=bool(metrics["simulated_data"]),
    )
    return figure


def _draw_bins(ax: Axes, predicted: np.ndarray, clicks: np.ndarray, rows: np.ndarray) -> list[str]:
    """Points with intervals on logarithmic axes, which have no 0; returns what is to be noted."""
    low, high = (np.array(ends) for ends in zip(*map(wilson, clicks, rows)))
    share, clicked = clicks / rows, clicks > 0
    values = np.concatenate([predicted, low[clicked], high])
    # A factor of 5 between the ends makes sure of two ticks at 1, 2 or 5 times a power of ten.
    start = max(SMALLEST, 0.6 * min(values.min(), values.max() / 3))
    stop = min(1.15, 1.6 * max(values.max(), start * 3))
    ax.set(xscale="log", yscale="log", xlim=(start, stop), ylim=(start, stop))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(FixedLocator(log_ticks(1.05 * start, min(stop, 1.0))))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    ax.plot([start, stop], [start, stop], ":", color=GREY)
    x, y = np.maximum(predicted, start), np.maximum(share, start)
    ax.vlines(x, np.maximum(low, start), high, color=BLUE, linewidth=2)
    beyond = predicted < start
    inside = clicked & ~beyond
    ax.plot(x[inside], y[inside], "o", color=BLUE)
    notes = []
    for there, marker, text in (
        (~clicked, "v", "Triangle down: {} without clicks."),
        (clicked & beyond, "<", "Triangle left: {} predicted lower."),
    ):
        if there.any():
            notes.append(text.format(_bins(int(there.sum()))))
            points = ax.plot(x[there], y[there], marker, color=BLUE, clip_on=False, zorder=3)
            points[0].set(markerfacecolor="white", markersize=9)
    return notes


def calibration_bins(label: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """[bins, 3]: mean predicted probability, clicks, rows; equal predictions share a bin."""
    count = int(np.clip(label.sum() // CLICKS_PER_BIN, 5, MOST_BINS))
    logit = logit.astype(np.float64)
    edges = np.unique(np.quantile(logit, np.arange(1, count) / count))
    place = np.searchsorted(edges, logit, side="left")
    rows = np.bincount(place)
    probability = sigmoid(logit)
    sums = (np.bincount(place, weights) for weights in (probability, label))
    there = rows > 0
    mean, clicks = next(sums)[there] / rows[there], next(sums)[there]
    return np.stack([mean, clicks, rows[there]], axis=1)


def wilson(clicks: float, rows: float) -> tuple[float, float]:
    """95 % interval of a share (Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    z2 = 1.959963984540054**2
    centre = (clicks + z2 / 2) / (rows + z2)
    half = math.sqrt(z2) / (rows + z2) * math.sqrt(clicks * (rows - clicks) / rows + z2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def thinned(x: np.ndarray, y: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """Indices of at most `most` points of a curve, chosen by how far off the rest would be.

    Ramer, Douglas and Peucker's way: again and again the point that lies farthest from the lines
    through those chosen. x and y are in units of the panel, and finite.
    """
    kept = {0, len(x) - 1}
    ahead: list[tuple[float, int, int, int]] = []

    def look(start: int, stop: int) -> None:
        """Queue the point that is farthest from the line between two neighbours."""
        if stop - start < 2:
            return
        dx, dy = x[stop] - x[start], y[stop] - y[start]
        off_x, off_y = x[start + 1 : stop] - x[start], y[start + 1 : stop] - y[start]
        length = math.hypot(dx, dy)
        far = np.abs(dx * off_y - dy * off_x) / length if length else np.hypot(off_x, off_y)
        place = int(far.argmax())
        if far[place] > 1e-4:
            heapq.heappush(ahead, (-float(far[place]), start, start + 1 + place, stop))

    look(0, len(x) - 1)
    while ahead and len(kept) < most:
        _, start, middle, stop = heapq.heappop(ahead)
        kept.add(middle)
        look(start, middle)
        look(middle, stop)
    return np.array(sorted(kept))


def _bins(count: int) -> str:
    return f"{count} bin" if count == 1 else f"{count} bins"


def _between(rows: np.ndarray) -> str:
    low, high = int(rows.min()), int(rows.max())
    if low == high:
        return f"{low:,}"
    return f"about {float(f'{high:.3g}'):,.0f}" if high < 1.01 * low else f"{low:,} to {high:,}"
