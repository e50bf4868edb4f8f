"""Plots of all models side by side: AUC, the length of the history, speed and memory."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..page import texts
from .style import (
    BARS,
    BLUE,
    ROW,
    WIDTH,
    About,
    draw_rows,
    interval_panels,
    log_axis,
    new_plot,
    short,
)

COSTS = {
    "train_samples_per_second": "training (samples/s)",
    "predict_samples_per_second": "prediction (samples/s)",
    "peak_memory_mib": "peak memory (MiB)",
}
BY_MAX_LEN = {
    "auc": "AUC",
    "epoch_seconds": "seconds per epoch",
    "peak_memory_mib": "peak memory (MiB)",
}


def aucs_plot(models: pd.DataFrame) -> Figure:
    """Every model's AUC with its interval by size, in the order of comparison.csv: best first."""
    panels = {}
    columns = ["auc", "auc_low", "auc_high", "auc_behind_chance"]
    for size, rows in models.groupby("size", sort=False):
        clicks, count = rows[["valid_clicks", "valid_rows"]].iloc[0]
        table = rows[columns].set_axis(["value", "low", "high", "chance"], axis=1)
        names = rows["model"].map(short) + texts(rows["auc"], "   {:.4f}".format, "   no AUC")
        panels[f"{clicks:,} clicks in {count:,} rows of size {size}"] = table.assign(name=names)
    figure = interval_panels(
        _about(models),
        panels,
        "AUC of all models",
        "Compared with the best on the same rows; intervals of two that differ may overlap.",
        BARS,
        middle=np.nan,
        label="AUC",
    )
    # A point at chance would squeeze those of the other models; its number is enough.
    ends = models[models["auc"] > 0.5]
    if len(ends):
        figure.axes[0].set_xlim(left=ends[["auc", "auc_low"]].min().min() - 0.01)
    return figure


def by_max_len_plot(models: pd.DataFrame) -> Figure:
    """AUC, time and memory by max_len; a line for each size and variant of FESeq."""
    named = models["model"].str.extract(r"^len(\d+)(?:-(.+))?$")
    drawn = models.assign(
        max_len=named[0].astype(float),
        line=models["size"] + " " + named[1].fillna("as configured"),
        epoch_seconds=models["train_seconds"] / models["epochs"],
    )
    drawn = drawn.dropna(subset="max_len").sort_values("max_len")
    lines = drawn.groupby("line", sort=False)
    notes = "Bars: 95 % intervals. Memory: peak of the training."
    title, height = "What longer histories bring and cost", max(7.6, 1 + 0.2 * len(lines))
    figure = new_plot(_about(models), WIDTH + 2, height, title, notes)
    panels = figure.subplots(len(BY_MAX_LEN), 1, sharex=True)
    for i, (line, rows) in enumerate(lines):
        # Seven markers and ten colours tell 70 lines apart.
        look = {"color": f"C{i % 10}", "marker": "osD^vPX"[i % 7], "label": short(str(line))}
        for ax, name in zip(panels, BY_MAX_LEN):
            ax.plot(rows["max_len"], rows[name], **look)
        panels[0].vlines(rows["max_len"], rows["auc_low"], rows["auc_high"], color=f"C{i % 10}")
    for ax, label in zip(panels, BY_MAX_LEN.values()):
        ax.set_ylabel(label)
    panels[-1].set_xlabel("max_len: how many of the newest events have positions")
    if len(drawn):
        log_axis(panels[-1], "x", drawn["max_len"].min(), drawn["max_len"].max())
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def speed_plot(models: pd.DataFrame) -> Figure:
    """Samples a second in training and prediction, and peak memory, of every model."""
    devices = ", ".join(map(short, sorted(set(models["device"].dropna()))))
    note = f"Trained on: {devices or 'no device known'}."
    height = len(models) * ROW + 1.4
    figure = new_plot(_about(models), WIDTH + 3, height, "Speed and memory", note)
    panels = figure.subplots(1, len(COSTS), sharey=True)
    for ax, (name, label) in zip(panels, COSTS.items()):
        bars = ax.barh(range(len(models)), models[name].fillna(0), color=BLUE, height=0.6)
        numbers = texts(models[name], "{:,.0f}".format, "not measured")
        ax.bar_label(bars, numbers, padding=4, fontsize=9)
        ax.set_xlabel(label)
        ax.margins(x=0.5)  # for the numbers of the longest bars
        ax.tick_params(axis="x", labelbottom=False)
    draw_rows(panels[0], list((models["size"] + " " + models["model"]).map(short)))
    return figure


PLOTS = {"aucs": aucs_plot, "by_max_len": by_max_len_plot, "speed": speed_plot}


def _about(models: pd.DataFrame) -> About:
    return {"simulated_data": models["simulated_data"].any()}
