"""Figures of one model: learning curves, ROC and precision-recall, calibration, slices."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.metrics import precision_recall_curve, roc_curve

from ...common.files import read_json
from ...common.logits import sigmoid
from ...evaluate.auc import LEAST_CLICKS, SIGNIFICANCE
from ...evaluate.valid_predictions import read_predictions
from .style import (
    BLUE,
    GREY,
    ROW,
    VERMILION,
    WIDTH,
    draw_intervals,
    draw_rows,
    interval,
    log_axis,
    new_figure,
    only_text,
    percent,
    save,
    short,
    styled,
    wilson,
    with_interval,
)

MOST_SLICES = 8  # of a column
MOST_NUMBERS = 31  # of hours, days and the like
MOST_BINS = 20  # of the calibration
CLICKS_PER_BIN = 10  # there are fewer bins where clicks are few
SMALLEST = 1e-6  # probability that is drawn: -80 as a logit is 1e-35


def plot_model(
    predictions: Path,
    metrics: Path,
    history: Path | None,
    learning_curves: Path | None,
    roc_pr: Path,
    calibration: Path,
    slices: Path,
) -> None:
    """Draw what valid_predictions.parquet, metrics.json and history.csv say of a model.

    Without `history`, as of a baseline, no learning curves are written.
    """
    table = read_predictions(predictions)
    label, logit = (np.asarray(table[name].to_numpy()) for name in ("label", "logit"))
    figures = read_json(metrics)
    if history is not None and learning_curves is not None:
        save(learning_curves_figure(pd.read_csv(history), figures), learning_curves)
    save(roc_pr_figure(label, logit, figures), roc_pr)
    save(calibration_figure(label, logit, figures), calibration)
    save(slices_figure(figures), slices)


@styled
def learning_curves_figure(history: pd.DataFrame, metrics: dict[str, Any]) -> Figure:
    """Losses and AUC of the evaluations in history.csv, the best one marked."""
    # The first of equals, which the training keeps.
    best = history.iloc[int(history["monitor"].fillna(-np.inf).argmax())]
    title = (
        f"{_model(metrics)}\nBest of {len(history)} evaluations: epoch {best['epoch']:.0f} of "
        f"{history['epoch'].iloc[-1]:.0f}, step {best['step']:,.0f}\n"
        f"AUC {best['auc']:.4f}, from {metrics['clicks']:,} clicks"
    )
    figure = new_figure(WIDTH, 5.5, title, simulated=bool(metrics["simulated_data"]))
    losses, aucs = figure.subplots(2, 1, sharex=True)
    step = history["step"]
    losses.plot(step, history["train_loss"], "s--", color=VERMILION, label="training")
    losses.plot(step, history["logloss"], "o-", color=BLUE, label="validation")
    aucs.plot(step, history["auc"], "o-", color=BLUE, label="validation")
    for ax, name in ((losses, "loss (nats per row)"), (aucs, "AUC")):
        ax.axvline(best["step"], color=GREY, linestyle=":", label="best: its weights are kept")
        ax.set_ylabel(name)
        ax.legend()
    aucs.set_xlabel("training step")
    drawn = history[["train_loss", "logloss"]].to_numpy()
    low, high = np.nanmin(drawn), np.nanmax(drawn)
    # As with a weight on clicks.
    if 0 < 5 * low < high:
        log_axis(losses, "y", low, high)
    return figure


@styled
def roc_pr_figure(label: np.ndarray, logit: np.ndarray, metrics: dict[str, Any]) -> Figure:
    """ROC and precision-recall curve, AUC and average precision with their intervals."""
    clicks, rows, simulated = int(label.sum()), len(label), bool(metrics["simulated_data"])
    title = f"{_model(metrics)}\n{clicks:,} clicks in {rows:,} validation rows"
    if clicks in (0, rows):
        return only_text(f"{title}: no curves to draw", simulated=simulated)
    notes = [f"In brackets: {percent(metrics['confidence'])} intervals."]
    figure = new_figure(9, 4.8, title, notes, simulated=simulated)
    roc, pr = figure.subplots(1, 2)
    false, true, _ = roc_curve(label, logit)
    auc = with_interval(interval(metrics["metrics"].get("auc")))
    roc.plot(false, true, color=BLUE, label=f"AUC {auc}")
    roc.plot([0, 1], [0, 1], ":", color=GREY, label="chance")
    roc.set(title="ROC", xlabel="share of the other rows", ylabel="share of the clicks")
    roc.legend(loc="lower right")
    precision, recall, _ = precision_recall_curve(label, logit, drop_intermediate=True)
    # Without a click there is no precision: that of the first clicks holds from 0 on.
    precision = np.append(precision[recall > 0], precision[recall > 0][-1])
    recall = np.append(recall[recall > 0], 0)
    average = with_interval(interval(metrics["metrics"].get("average_precision")))
    pr.plot(
        recall, precision, color=BLUE, drawstyle="steps-post", label=f"average precision {average}"
    )
    pr.axhline(label.mean(), ls=":", color=GREY, label=f"chance: {percent(label.mean())}")
    # The precision of the first clicks leaps; the frame is made for the rest.
    settled = precision[recall * clicks >= min(10, clicks)].max()
    pr.set(title="Precision-recall", xlabel="share of the clicks (recall)")
    pr.set(ylabel="clicks among the rows picked (precision)", ylim=(0, min(1.02, 1.3 * settled)))
    pr.yaxis.set_major_formatter(PercentFormatter(1))
    pr.legend(loc="upper right")
    return figure


@styled
def calibration_figure(label: np.ndarray, logit: np.ndarray, metrics: dict[str, Any]) -> Figure:
    """Predicted probability against the share of clicks, in bins of equally many rows."""
    bins = calibration_bins(label, logit)
    error = with_interval(interval(metrics["metrics"].get("calibration_error")), digits=4)
    title = (
        f"{_model(metrics)}\nMean prediction {percent(sigmoid(logit.astype(np.float64)).mean())}, "
        f"{label.sum():,} clicks: {percent(label.mean())}\ncalibration error {error}"
    )
    rows = " to ".join(f"{count:,}" for count in sorted({bins["rows"].min(), bins["rows"].max()}))
    notes = [f"{len(bins)} bins of {rows} rows, with 95 % intervals."]
    figure = new_figure(WIDTH, 5.5, title, notes, simulated=bool(metrics["simulated_data"]))
    ax = figure.subplots()
    some, none = bins[bins["clicks"] > 0], bins[bins["clicks"] == 0]
    ax.vlines(some["predicted"], some["low"], some["high"], color=BLUE)
    ax.plot(some["predicted"], some["share"], "o", color=BLUE)
    if len(none):
        # A logarithmic axis has no 0.
        ends = (none["predicted"], none["high"], "v")
        ax.plot(*ends, color=VERMILION, label="no clicks: upper end of the interval")
    drawn = pd.concat([bins["predicted"], bins["high"], some["low"]])
    low, high = drawn.min(), drawn.max()
    ax.plot([low, high], [low, high], ":", color=GREY, label="clicks as predicted")
    log_axis(ax, "x", low, high, lambda value, _: percent(value))
    log_axis(ax, "y", low, high, lambda value, _: percent(value))
    ax.set(xlabel="predicted probability", ylabel="share of clicks")
    ax.legend(loc="upper left")
    return figure


def _model(metrics: dict[str, Any]) -> str:
    """Size and name of the model."""
    return short(metrics["full_name"])


def calibration_bins(label: np.ndarray, logit: np.ndarray) -> pd.DataFrame:
    """Rows, clicks, mean `predicted` and `share` of clicks by bin; equal logits share a bin.

    `low` and `high` are the 95 % interval of the share.
    """
    count = int(np.clip(label.sum() // CLICKS_PER_BIN, 5, MOST_BINS))
    logit = logit.astype(np.float64)
    edges = np.unique(np.quantile(logit, np.arange(1, count) / count))
    rows = pd.DataFrame({"predicted": sigmoid(logit), "label": label})
    found = rows.groupby(np.searchsorted(edges, logit)).agg(
        predicted=("predicted", "mean"), clicks=("label", "sum"), rows=("label", "size")
    )
    low, high = wilson(found["clicks"].astype(float), found["rows"])
    found = found.assign(share=found["clicks"] / found["rows"], low=low, high=high)
    return found.assign(**{name: found[name].clip(SMALLEST, 1) for name in ("predicted", "low")})


@styled
def slices_figure(metrics: dict[str, Any]) -> Figure:
    """AUC by slice, one panel a column, beside the AUC of all rows."""
    simulated = bool(metrics["simulated_data"])
    columns = {name: slices for name, slices in metrics["slices"].items() if slices}
    if not columns:
        text = f"{_model(metrics)}\nNo slices: the config names no column"
        return only_text(text, simulated=simulated)
    overall = interval(metrics["metrics"].get("auc"))[0]
    slices_in_all = sum(map(len, columns.values()))
    tables = {name: pd.DataFrame(slices) for name, slices in columns.items()}
    upright = {name for name, slices in tables.items() if _in_order(slices["slice"])}
    shown = {n: slices if n in upright else _largest(slices) for n, slices in tables.items()}
    across = min(2, len(shown))
    rows = [min(MOST_SLICES, len(slices)) for slices in shown.values()]
    heights = [max(rows[i : i + across]) + 3.5 for i in range(0, len(rows), across)]
    notes = [
        f"Dotted: AUC of all rows, {overall:.4f}. Bars: {percent(metrics['confidence'])} "
        "intervals. In brackets: clicks of rows.",
        f"Red: told apart from all rows among {slices_in_all} slices. Hollow: fewer than "
        f"{LEAST_CLICKS} clicks, which tell nothing.",
    ]
    title = f"{_model(metrics)}\nAUC by slice: at most the {MOST_SLICES} largest, or all hours"
    figure = new_figure(
        WIDTH * (1 + across) / 2, sum(heights) * ROW + 1, title, notes, simulated=simulated
    )
    panels = figure.subplots(len(heights), across, height_ratios=heights, squeeze=False)
    level = [ax for ax, name in zip(panels.flat, shown) if name not in upright]
    for ax, (name, slices) in zip(panels.flat, shown.items()):
        ax.set_title(short(name), loc="left", fontsize="medium")
        if name in upright:
            ax.axhline(overall, color=GREY, linestyle=":")
            _draw_upright(ax, slices, short(name))
            continue
        if ax is not level[0]:
            ax.sharex(level[0])
        ax.axvline(overall, color=GREY, linestyle=":")
        _draw_slices(ax, slices)
    for ax in panels.flat[len(shown) :]:
        ax.remove()
    return figure


def _in_order(names: pd.Series) -> bool:
    """True for whole numbers without gaps, such as hours, more than are drawn as rows."""
    numbers = pd.to_numeric(names[names != "(missing)"], errors="coerce").sort_values()
    return MOST_SLICES < len(numbers) <= MOST_NUMBERS and bool((numbers.diff()[1:] == 1).all())


def _draw_upright(ax: Axes, slices: pd.DataFrame, name: str) -> None:
    """The slices from left to right in their order, such as the hours of a day."""
    for rows, aucs, colour, face in _looks(slices):
        value, low, high = aucs.T
        ax.vlines(rows, low, high, color=colour)
        ax.plot(rows, value, "o", color=colour, markerfacecolor=face or colour)
    ax.set_xticks(range(len(slices)), slices["slice"].map(short), rotation=90, fontsize=8)
    ax.set_xlim(-0.5, len(slices) - 0.5)
    if slices["auc"].isna().all():
        ax.set_ylim(0.4, 1)
    ax.set(xlabel=name, ylabel="AUC")


def _draw_slices(ax: Axes, slices: pd.DataFrame) -> None:
    names = slices.apply(
        lambda row: (
            f"{short(row['slice'].strip() or '(empty)', 24)} ({row['clicks']:,} of {row['rows']:,})"
        ),
        axis=1,
    )
    draw_rows(ax, list(names))
    for rows, aucs, colour, face in _looks(slices):
        draw_intervals(ax, rows, aucs, "o", colour, face=face)
    ax.set_xlabel("AUC")
    ax.tick_params(labelbottom=True)


def _looks(slices: pd.DataFrame) -> Iterator[tuple[list[int], np.ndarray, str, str | None]]:
    """Places of the slices of one look, their AUCs with intervals, colour, and that inside."""
    aucs = np.array([interval(entry) for entry in slices["auc"]])
    chance = np.array([_chance(entry) for entry in slices["apart"]])
    apart, few = chance < SIGNIFICANCE, np.isnan(chance)
    looks = ((apart, VERMILION, None), (~apart & ~few, BLUE, None), (few, GREY, "none"))
    for rows, colour, face in looks:
        if rows.any():
            yield np.flatnonzero(rows).tolist(), aucs[rows], colour, face


def _chance(apart: dict[str, Any] | None) -> float:
    """The chance of a difference of metrics.json, NaN where it has none."""
    return float("nan") if apart is None or apart["chance"] is None else apart["chance"]


def _largest(slices: pd.DataFrame) -> pd.DataFrame:
    """The slices of the most rows, in their own order."""
    return slices.nlargest(MOST_SLICES, "rows").sort_index()
