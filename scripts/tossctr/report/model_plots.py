"""Plots of one model: learning curves, calibration, slices, and importance of columns."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..common.files import Output, read_json
from ..common.logits import sigmoid
from ..config.names import FEW_CLICKS
from ..evaluate.metric_table import METRIC_BY_NAME, calibration_bins, read_predictions
from .page import (
    BLUE,
    GREY,
    VERMILION,
    interval_panels,
    interval_text,
    log_axis,
    new_plot,
    percent,
    rate_interval,
    save_svg,
    shorten,
)

MAX_SLICES = 24  # of a column, such as the hours of a day
MAX_COLUMNS = 20
MIN_PROBABILITY = 1e-6  # in a plot: a logit of -80 would be 1e-35


def plot_model(predictions: Path, metrics: Path, calibration: Output, slices: Output) -> None:
    """Draw two plots (SVG) of a model: its `calibration`, and its AUC by slice (`slices`).

    `predictions` are the model's validation predictions, `metrics` its metrics.json.
    """
    table = read_predictions(predictions)
    label, logit = (np.asarray(table[name].to_numpy()) for name in ("label", "logit"))
    measured = read_json(metrics, kind="metrics.json", keys=("metrics", "slices"))
    save_svg(calibration_plot(label, logit, measured), calibration)
    save_svg(slices_plot(measured), slices)


def draw_plot(plot: str, data: Path, training: Path, full_name: str, svg: Output) -> None:
    """Draw a plot of a model as SVG.

    `plot` is `importance` (`data`: importance.json) or `learning_curves` (`data`: history.csv).
    `training` is the model's training.json.
    """
    about = read_json(training, kind="training.json", keys=("simulated_data",))
    about |= {"full_name": full_name}
    if plot == "importance":
        content = read_json(data, kind="importance.json", keys=("changes", "auc"))
        save_svg(importance_plot(content, about), svg)
    else:
        save_svg(learning_curves_plot(pd.read_csv(data), about), svg)


def learning_curves_plot(history: pd.DataFrame, about: Mapping[str, Any]) -> Figure:
    """A plot of the losses and AUC of the evaluations in history.csv; the best one is marked."""
    # The training keeps the first of equally good evaluations.
    best = history.iloc[int(history["monitor"].fillna(-np.inf).argmax())]
    title = (
        f"Best of {len(history)} evaluations: epoch {best['epoch']:.0f} of "
        f"{history['epoch'].iloc[-1]:.0f}, step {best['step']:,.0f}, AUC {best['auc']:.4f}"
    )
    figure = new_plot(about, 5, title)
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
    return figure


def calibration_plot(label: np.ndarray, logit: np.ndarray, measured: Mapping[str, Any]) -> Figure:
    """A plot of the click rate by mean prediction of bins of rows; `measured` is metrics.json."""
    bins = binned_clicks(label, logit)
    some = bins[bins["clicks"] > 0]
    title = (
        f"Mean prediction {percent(sigmoid(logit).mean())}, "
        f"click rate {percent(label.mean())} ({label.sum():,} clicks)\n"
        f"calibration error {_metric(measured, 'calibration_error')}"
    )
    notes = f"{len(bins)} bins with 95 % intervals.", "Bins without clicks have no dot."
    figure = new_plot(measured, 4, title, *notes)
    ax = figure.subplots()
    ax.vlines(bins["predicted"], bins["low"], bins["high"], color=BLUE)
    ax.plot(some["predicted"], some["clicks"] / some["rows"], "o", color=BLUE, label="a bin")
    low = min([bins["predicted"].min(), *some["low"]])
    high = max([bins["predicted"].max(), *bins["high"]])
    ax.plot([low, high], [low, high], ":", color=GREY, label="perfect calibration")
    for axis in ("x", "y"):
        log_axis(ax, axis, low, high, lambda value, _: percent(value))
    ax.set(xlabel="predicted probability", ylabel="click rate")
    ax.legend(loc="upper left")
    return figure


def binned_clicks(label: np.ndarray, logit: np.ndarray) -> pd.DataFrame:
    """A table of about equally large bins of rows, in the order of their logits.

    Columns: `rows`, `clicks`, the mean probability `predicted`, and the 95 % interval of the click
    rate from `low` to `high`.
    """
    rows = pd.DataFrame({"predicted": sigmoid(logit).clip(MIN_PROBABILITY, 1), "label": label})
    bins = rows.groupby(calibration_bins(logit)).agg(
        predicted=("predicted", "mean"), clicks=("label", "sum"), rows=("label", "size")
    )
    low, high = rate_interval(bins["clicks"].astype(float), bins["rows"])
    return bins.assign(low=np.maximum(low, MIN_PROBABILITY), high=high)


def slices_plot(measured: Mapping[str, Any]) -> Figure:
    """A plot of the AUC by slice of the rows, a panel for each column; from metrics.json."""
    panels = {}
    for column, slices in measured["slices"].items():
        if many := [entry for entry in slices if entry["clicks"] >= FEW_CLICKS]:
            table = pd.json_normalize(many).nlargest(MAX_SLICES, "rows").sort_index()
            names = [shorten(name.strip(), 24) for name in table["slice"]]
            counts = table["clicks"].map(" ({:,}".format) + table["rows"].map(" of {:,})".format)
            panels[column] = _intervals(table, "auc").assign(name=names + counts, p_value=1.0)
    return interval_panels(
        measured,
        panels,
        f"AUC by slice: at most the {MAX_SLICES} largest of each column",
        f"Dotted: AUC of all rows, {_metric(measured, 'auc')}. In brackets: clicks and rows.",
        f"Slices of fewer than {FEW_CLICKS} clicks are left out.",
        middle=measured["metrics"]["auc"]["value"] or np.nan,
        label="AUC",
    )


def importance_plot(importance: Mapping[str, Any], about: Mapping[str, Any]) -> Figure:
    """A plot of the columns whose permutation loses most AUC; from importance.json."""
    changes = importance["changes"]
    shown = changes[:MAX_COLUMNS]
    rows = _intervals(pd.json_normalize(shown), "auc_lost").assign(
        name=[shorten(entry["changed"]) for entry in shown]
    )
    title = (
        f"The {len(shown)} changes that lose most" if len(shown) < len(changes) else "All changes"
    )
    return interval_panels(
        about,
        {title: rows},
        f"AUC lost by each change, out of {interval_text(importance['auc'], 3)}\n"
        f"{importance['clicks']:,} clicks in a sample of {importance['rows']:,} validation rows",
        "A change takes a column, or the history, from other rows. Redundant columns lose little.",
        middle=0,
        label="AUC lost",
    )


def _intervals(table: pd.DataFrame, entry: str) -> pd.DataFrame:
    """The columns value, low, high and p_value of an entry; NaN if unknown."""
    names = ["value", "low", "high", "p_value"]
    return table.reindex(columns=[f"{entry}.{name}" for name in names]).set_axis(names, axis=1)


def _metric(measured: Mapping[str, Any], name: str) -> str:
    return interval_text(measured["metrics"].get(name), METRIC_BY_NAME[name].digits) or "unknown"
