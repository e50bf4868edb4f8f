"""Figures of all models side by side: AUC, the length of the history, speed and memory."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ..table import read_comparison
from .style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    ROW,
    VERMILION,
    WIDTH,
    draw_intervals,
    draw_rows,
    log_axis,
    new_figure,
    only_text,
    save,
    short,
    styled,
)

INTERVAL = ["auc", "auc_low", "auc_high"]
# Colour and marker.
KINDS = {
    "feseq": (BLUE, "o"),
    "boosting": (ORANGE, "^"),
    "baseline": (VERMILION, "s"),
    "ensemble": (GREEN, "D"),
}
MEASURED = {
    "train_samples_per_second": "training (samples/s)",
    "predict_samples_per_second": "prediction (samples/s)",
    "peak_memory_gib": "peak memory (GiB)",
}
BY_MAX_LEN = {
    "auc": "AUC",
    "epoch_seconds": "seconds per epoch",
    "peak_memory_gib": "peak memory (GiB)",
}


def plot_comparison(comparison: Path, aucs: Path, by_max_len: Path, speed: Path) -> None:
    """Draw results/comparison.csv; raises UserError for another file."""
    models = with_labels(read_comparison(comparison))
    save(aucs_figure(models), aucs)
    save(by_max_len_figure(models), by_max_len)
    save(speed_figure(models), speed)


def with_labels(comparison: pd.DataFrame) -> pd.DataFrame:
    """The rows of comparison.csv with what is drawn of them, besides their own columns."""
    models = comparison.copy()
    sizes = models["size"] + " " if models["size"].nunique() > 1 else ""
    models["label"] = (sizes + models["model"]).map(short)
    # What the names of FESeq models say: len{max_len} or len{max_len}-{variant}.
    named = models["model"].str.extract(r"^len(\d+)(?:-(.+))?$")
    models["max_len"] = named[0].astype(float)
    models["line"] = (sizes + named[1].fillna("as configured")).map(short)
    models["epoch_seconds"] = models["train_seconds"] / models["epochs"]
    models["peak_memory_gib"] = models["peak_memory_mib"] / 1024
    return models


@styled
def aucs_figure(models: pd.DataFrame) -> Figure:
    """Every model's AUC with its interval, in the order of comparison.csv: best first."""
    figure = _figure_of_rows(
        models, WIDTH + 1, "AUC on the validation rows", "Bars: 95 % intervals.", _clicks(models)
    )
    ax = figure.subplots()
    numbers = [f"{auc:.4f}" if auc == auc else "no AUC" for auc in models["auc"]]
    draw_rows(ax, [f"{label}   {n}" for label, n in zip(models["label"], numbers)])
    # The frame is for models that learned something: chance would press them together.
    learned = models[models["auc"] > 0.5]
    by_chance = models["auc"].le(0.5) & (len(learned) > 0)
    for kind, rows in models.assign(y=range(len(models))).groupby("kind", sort=False):
        colour, marker = KINDS[str(kind)]
        inside = rows[~by_chance[rows.index]]
        values = inside[INTERVAL].to_numpy(float)
        draw_intervals(ax, list(inside["y"]), values, marker, colour, str(kind))
        outside = rows["y"][by_chance[rows.index]]
        ax.plot(0 * outside, outside, "<", color=colour, transform=ax.get_yaxis_transform())
    if by_chance.any():
        ax.plot([], "<", color=GREY, label="left of the frame")
    if models["auc"].isna().all():
        ax.set_xlim(0.45, 1)
    ax.set_xlabel("AUC")
    figure.legend(loc="outside right upper")
    return figure


@styled
def by_max_len_figure(models: pd.DataFrame) -> Figure:
    """AUC, time and memory by max_len; a line for each size and variant of FESeq."""
    simulated = bool(models["simulated_data"].any())
    drawn = models.dropna(subset="max_len").sort_values("max_len")
    known = [name for name in BY_MAX_LEN if drawn[name].notna().any()]
    if not known:
        return only_text("No FESeq model was compared: no max_len to draw", simulated=simulated)
    lines = drawn.groupby("line", sort=False)
    height = 1 + max(2.2 * len(known), 0.2 * len(lines))
    title = f"What longer histories bring and cost{_size(drawn)}"
    notes = ["Bars: 95 % intervals. Memory: peak of the training.", _clicks(drawn)]
    figure = new_figure(WIDTH + 2, height, title, notes, simulated=simulated)
    panels = figure.subplots(len(known), 1, sharex=True, squeeze=False)[:, 0]
    for i, (line, rows) in enumerate(lines):
        # Seven markers and ten colours tell 70 lines apart.
        look = {"color": f"C{i % 10}", "marker": "osD^vPX"[i % 7], "label": line}
        for ax, name in zip(panels, known):
            ax.plot(rows["max_len"], rows[name], **look)
            if name == "auc":
                ends = rows["auc_low"], rows["auc_high"]
                ax.vlines(rows["max_len"], *ends, color=f"C{i % 10}")
    for ax, name in zip(panels, known):
        ax.set_ylabel(BY_MAX_LEN[name])
        if name != "auc":
            ax.set_ylim(bottom=0)
    low, high = drawn["max_len"].min(), drawn["max_len"].max()
    if high > 5 * low:
        log_axis(panels[-1], "x", low, high)
    elif low == high:
        panels[-1].set_xticks([low])
    panels[-1].set_xlabel("max_len: the newest events of a history that are kept")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


@styled
def speed_figure(models: pd.DataFrame) -> Figure:
    """Samples a second in training and prediction, and peak memory, of every model."""
    devices = sorted(set(models["device"].dropna()))
    trained = f" Trained on: {', '.join(map(short, devices))}." if devices else ""
    note = f"Logarithmic axes.{trained}"
    figure = _figure_of_rows(models, WIDTH + 3, "Speed and memory", note)
    panels = figure.subplots(1, len(MEASURED), sharey=True)
    for ax, (name, title) in zip(panels, MEASURED.items()):
        ax.set_xlabel(title)
        _draw_amounts(ax, models[name], [KINDS[kind][0] for kind in models["kind"]])
    draw_rows(panels[0], list(models["label"]))
    return figure


def _draw_amounts(ax: Axes, amounts: pd.Series, colours: Sequence[str]) -> None:
    """Horizontal bars on a logarithmic axis, each with its number."""
    known = amounts[amounts > 0]
    low, high = (known.min(), known.max()) if len(known) else (1, 1)
    # The numbers of the longest bars need room.
    form = EngFormatter(sep="") if high >= 1000 else "{x:,g}"
    log_axis(ax, "x", low / 2, high * (high / low) ** 0.4 * 3, form)
    for y, (amount, colour) in enumerate(zip(amounts, colours)):
        is_known = amount > 0
        ax.barh(y, amount if is_known else 0, color=colour, height=0.6)
        text = f"{float(f'{amount:.3g}'):,.12g}" if is_known else "not measured"
        place = (amount if is_known else ax.get_xlim()[0], y)
        ax.annotate(text, place, (4, 0), textcoords="offset points", va="center", fontsize=9)


def _figure_of_rows(models: pd.DataFrame, width: float, title: str, *notes: str) -> Figure:
    """An empty figure with room for a row a model."""
    simulated = bool(models["simulated_data"].any())
    height = len(models) * ROW + 1.4
    return new_figure(width, height, f"{title}{_size(models)}", list(notes), simulated=simulated)


def _clicks(models: pd.DataFrame) -> str:
    """How many clicks the AUCs of each size rest on."""
    sizes = models.drop_duplicates("size")
    counts = [
        f"{short(row['size'])} {row['valid_clicks']:,} of {row['valid_rows']:,} rows"
        + ("" if row["enough_clicks"] else ", too few to compare")
        for _, row in sizes.iterrows()
    ]
    return f"Clicks: {'; '.join(counts)}."


def _size(models: pd.DataFrame) -> str:
    """`, size medium`, or nothing where there are several and labels have them."""
    sizes = models["size"].unique()
    return f", size {short(sizes[0])}" if len(sizes) == 1 else ""
