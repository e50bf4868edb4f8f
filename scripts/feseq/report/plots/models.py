"""Plots of all models side by side: AUC, the length of the history, speed and memory."""

from itertools import cycle

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...families import FAMILIES
from ..page import texts
from . import style
from .style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    ROW,
    SKY,
    VERMILION,
    WIDTH,
    draw_intervals,
    log_axis,
    short,
)

KINDS = dict(zip(FAMILIES, cycle((BLUE, ORANGE, PURPLE, SKY))))
KINDS |= {"baseline": VERMILION, "blend": GREEN}
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
    """Every model's AUC with its interval, in the order of comparison.csv: best first."""
    columns = ["size", "valid_clicks", "valid_rows", "enough_clicks"]
    counts = "; ".join(
        f"{short(size)} {clicks:,} of {rows:,} rows{'' if enough else ', too few to compare'}"
        for size, clicks, rows, enough in models.drop_duplicates("size")[columns].to_numpy()
    )
    notes = ("Bars: 95 % intervals.", f"Clicks: {counts}.")
    figure = _new_plot(models, WIDTH + 1, len(models) * ROW + 1.4, "AUC", *notes)
    ax = figure.subplots()
    numbers = texts(models["auc"], "   {:.4f}".format, "   no AUC")
    style.draw_rows(ax, list(_labels(models) + numbers))
    rows = models[["auc", "auc_low", "auc_high"]].set_axis(["value", "low", "high"], axis=1)
    draw_intervals(ax, rows, [KINDS[kind] for kind in models["kind"]])
    # A bar at chance would squeeze those of the other models; its number is enough.
    ends = rows[rows["value"] > 0.5]
    if len(ends):
        low, high = ends.min().min(), ends.max().max()
        ax.set_xlim(low - 0.05 * (high - low) - 1e-4, high + 0.05 * (high - low) + 1e-4)
    ax.set_xlabel("AUC")
    kinds = [kind for kind in KINDS if kind in set(models["kind"])]
    handles = [Line2D([], [], color=KINDS[kind], marker="o", ls="") for kind in kinds]
    figure.legend(handles, kinds, loc="outside right upper")
    return figure


def by_max_len_plot(models: pd.DataFrame) -> Figure:
    """AUC, time and memory by max_len; a line for each size and variant of FESeq."""
    named = models["model"].str.extract(r"^len(\d+)(?:-(.+))?$")
    drawn = models.assign(
        max_len=named[0].astype(float),
        line=_prefix(models) + named[1].fillna("as configured"),
        epoch_seconds=models["train_seconds"] / models["epochs"],
    )
    drawn = drawn.dropna(subset="max_len").sort_values("max_len")
    lines = drawn.groupby("line", sort=False)
    notes = "Bars: 95 % intervals. Memory: peak of the training."
    title, height = "What longer histories bring and cost", max(7.6, 1 + 0.2 * len(lines))
    figure = _new_plot(models, WIDTH + 2, height, title, notes)
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
    note = f"Logarithmic axes. Trained on: {devices or 'no device known'}."
    height = len(models) * ROW + 1.4
    figure = _new_plot(models, WIDTH + 3, height, "Speed and memory", note)
    panels = figure.subplots(1, len(COSTS), sharey=True)
    colours = [KINDS[kind] for kind in models["kind"]]
    for ax, (name, label) in zip(panels, COSTS.items()):
        known = models[name].where(models[name] > 0)
        bars = ax.barh(range(len(known)), known.fillna(0), color=colours, height=0.6)
        texts = ["not measured" if pd.isna(x) else f"{float(f'{x:.3g}'):,.12g}" for x in known]
        ax.bar_label(bars, texts, padding=4, fontsize=9)
        ax.set_xlabel(label)
        if known.notna().any():
            low, high = known.min(), known.max()
            # The numbers of the longest bars need room.
            log_axis(ax, "x", low / 2, high * (high / low) ** 0.4 * 3)
    style.draw_rows(panels[0], list(_labels(models)))
    return figure


PLOTS = {"aucs": aucs_plot, "by_max_len": by_max_len_plot, "speed": speed_plot}


def _prefix(models: pd.DataFrame) -> pd.Series | str:
    """The size, where there are several."""
    return models["size"] + " " if models["size"].nunique() > 1 else ""


def _labels(models: pd.DataFrame) -> pd.Series:
    return (_prefix(models) + models["model"]).map(short)


def _new_plot(models: pd.DataFrame, width: float, height: float, title: str, *notes: str) -> Figure:
    """An empty plot whose title names the size, where labels do not."""
    sizes = models["size"].unique()
    title += f", size {short(sizes[0])}" * (len(sizes) == 1)
    simulated = bool(models["simulated_data"].any())
    return style.new_plot(width, height, title, *notes, simulated=simulated)
