"""Figures of one model: its training, its curves and its slices."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullLocator

from ...common.files import read_json
from ...common.parquet import read_table
from .curves import calibration_figure, roc_pr_figure
from .drawing import (
    BLUE,
    GREY,
    LIGHT,
    ROW,
    TEXT_POINTS,
    VERMILION,
    WIDTH,
    confidence,
    end_labels,
    fitted,
    frame,
    inches,
    interval,
    log_ticks,
    new_figure,
    number,
    only_text,
    read_rows,
    save,
    styled,
)

# At most, of a panel.
MOST_SLICES = 8
# Inches of a column of panels.
TALLEST = 7.0
PAD = 0.25  # rows above and below those of a panel


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
    table = read_table(predictions, ("label", "logit"))
    label, logit = (np.asarray(table[name].to_numpy()) for name in ("label", "logit"))
    figures = read_json(metrics)
    if history is not None and learning_curves is not None:
        names = ("epoch", "step", "train_loss", "auc", "logloss", "monitor")
        rows = [{name: number(row[name]) for name in names} for row in read_rows(history, names)]
        simulated = bool(figures["simulated_data"])
        save(learning_curves_figure(rows, simulated=simulated), learning_curves)
    save(roc_pr_figure(label, logit, figures), roc_pr)
    save(calibration_figure(label, logit, figures), calibration)
    save(slices_figure(figures), slices)


@styled
def learning_curves_figure(history: Sequence[dict[str, float]], *, simulated: bool) -> Figure:
    """Losses and AUC of the evaluations in history.csv, the best one marked."""
    step, train_loss, logloss, auc, monitor = (
        np.array([row[name] for row in history])
        for name in ("step", "train_loss", "logloss", "auc", "monitor")
    )
    # The first of equals, which the training keeps.
    best = int(np.argmax(np.where(np.isnan(monitor), -np.inf, monitor)))
    figure = new_figure(WIDTH, 6.0)
    above, below = figure.subplots(2, 1, sharex=True)
    for ax, curves in (
        (above, ((train_loss, "train", VERMILION, "s--"), (logloss, "validation", BLUE, "o-"))),
        (below, ((auc, "validation", BLUE, "o-"),)),
    ):
        ax.grid()
        ax.axvline(step[best], color=LIGHT, linewidth=5, alpha=0.6, zorder=0.5)
        for values, _, colour, shape in curves:
            ax.plot(step, values, shape, color=colour, markevery=-(-len(step) // 25))
        if np.isfinite(curves[-1][0][best]):
            ax.plot(
                step[best],
                curves[-1][0][best],
                "*",
                color=BLUE,
                markersize=17,
                clip_on=False,
                zorder=3,
            )
    _scale_losses(above, np.concatenate([train_loss, logloss]))
    above.set_ylabel("loss (nats per row)")
    below.set_ylabel("AUC")
    below.set_xlabel("training step")
    several = MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10])
    below.xaxis.set_major_locator(several if len(step) > 1 else FixedLocator(list(step)))
    below.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.align_ylabels()
    epoch = f"epoch {history[best]['epoch']:.0f} of {history[-1]['epoch']:.0f}"
    frame(
        figure,
        f"The best of {len(step)} evaluations: {epoch}, step {step[best]:,.0f}, "
        f"validation AUC {auc[best]:.4f}"
        if len(step) > 1
        else f"One evaluation: epoch {history[0]['epoch']:.0f}, validation AUC {auc[0]:.4f}",
        ["Star and grey line: the best evaluation, whose weights are kept."],
        simulated=simulated,
    )
    end_labels(above, [(train_loss[-1], "train", VERMILION), (logloss[-1], "validation", BLUE)])
    end_labels(below, [(auc[-1], "validation", BLUE)])
    return figure


def _scale_losses(ax: Axes, losses: np.ndarray) -> None:
    """A logarithmic axis where the two losses are far apart, as with a weight on clicks."""
    losses = losses[np.isfinite(losses) & (losses > 0)]
    if len(losses) and losses.max() > 5 * losses.min():
        ax.set(yscale="log", ylim=(losses.min() / 1.3, losses.max() * 1.3))
        ax.yaxis.set_major_locator(FixedLocator(log_ticks(*ax.get_ylim())))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_locator(NullLocator())


@styled
def slices_figure(metrics: dict[str, Any]) -> Figure:
    """AUC by slice, one panel a column, beside that of all rows."""
    simulated = bool(metrics["simulated_data"])
    overall = interval(metrics["metrics"].get("auc"))[0]
    columns = {name: slices for name, slices in metrics["slices"].items() if slices}
    if not columns:
        return only_text("No slices: the config names no column", simulated=simulated)
    shown = {name: _largest(slices) for name, slices in columns.items()}
    figure, panels = _panels({name: len(slices) for name, slices in shown.items()})
    for name, ax in panels.items():
        hidden = len(columns[name]) - len(shown[name])
        more = f" (the {len(shown[name])} largest; {hidden:,} left out)" if hidden else ""
        ax.set_title(fitted(name, 4.9 - inches(more, TEXT_POINTS)) + more)
        _draw_slices(ax, shown[name], overall)
    ends = np.array([ax.get_xlim() for ax in panels.values()])
    for ax in panels.values():
        ax.set_xlim(ends[:, 0].min(), ends[:, 1].max())
    drawn = [interval(entry["auc"]) for slices in shown.values() for entry in slices]
    lower = sum(high < overall for _, _, high in drawn)
    higher = sum(low > overall for _, low, _ in drawn)
    of_all = f"that of all rows ({overall:.3f})"
    clear = f"{lower} clearly below, {higher} clearly above {of_all}"
    nothing = f"none clearly differs from {of_all}"
    frame(
        figure,
        f"AUC of {len(drawn)} slices: {clear if lower or higher else nothing}",
        [f"Line: all rows. Bars: {confidence(metrics)} intervals. At the right: clicks of rows."],
        simulated=simulated,
    )
    return figure


def _panels(rows: Mapping[str, int]) -> tuple[Figure, dict[str, Axes]]:
    """An empty figure with a panel for each name, of so many rows, in one column or two.

    Two, where one would be higher than a screen, on which a report's viewer cuts off the rest.
    """
    heights = {name: (count + 2 * PAD) * ROW + 0.42 for name, count in rows.items()}
    names = list(heights)
    total = sum(heights.values())
    # As many in the first column as make both as equally high as can be.
    first = min(
        range(1, len(names) + 1),
        key=lambda n: abs(total - 2 * sum(heights[name] for name in names[:n])),
    )
    parts = [names[:first], names[first:]] if total > TALLEST and len(names) > 1 else [names]
    height = max(sum(heights[name] for name in part) for part in parts)
    figure = new_figure(7.4 * len(parts), height + 1.6)
    panels: dict[str, Axes] = {}
    for part, place in zip(parts, figure.subfigures(1, len(parts), squeeze=False)[0]):
        ratios = [heights[name] for name in part]
        ratios += [height - sum(ratios)] * (height - sum(ratios) > ROW)
        column = place.subplots(
            len(ratios), 1, squeeze=False, gridspec_kw={"height_ratios": ratios}
        )[:, 0]
        for empty in column[len(part) :]:
            empty.remove()
        for ax in column[: len(part) - 1]:
            ax.tick_params(labelbottom=False)
        last = column[len(part) - 1]
        last.set_xlabel("AUC")
        last.xaxis.set_major_locator(MaxNLocator(6))
        panels |= dict(zip(part, column))
    return figure, panels


def _draw_slices(ax: Axes, slices: Sequence[dict[str, Any]], overall: float) -> None:
    ax.grid(axis="x")
    if math.isfinite(overall):
        ax.axvline(overall, color=GREY, linewidth=1.5, zorder=1)
    right = ax.get_yaxis_transform()
    for place, entry in enumerate(slices):
        value, low, high = interval(entry["auc"])
        if math.isfinite(value):
            if math.isfinite(low) and math.isfinite(high):
                ax.hlines(place, low, high, color=BLUE, linewidth=2.5)
            ax.plot(value, place, "o", color=BLUE)
        else:
            why = {0: "no clicks", entry["rows"]: "only clicks"}.get(entry["clicks"], "no AUC")
            text = why if entry["rows"] else "no rows"
            ax.text(0.02, place, text, transform=right, va="center", color=GREY, style="italic")
        counts = f"{entry['clicks']:,} of {entry['rows']:,}"
        ax.text(1.02, place, counts, transform=right, va="center", color=GREY)
    ax.set_yticks(
        range(len(slices)), [fitted(entry["slice"].strip() or "(empty)", 2.2) for entry in slices]
    )
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", length=0)
    ax.set_ylim(len(slices) - 0.5 + PAD, -0.5 - PAD)


def _largest(slices: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The slices of the most rows, in their own order."""
    order = sorted(range(len(slices)), key=lambda i: -slices[i]["rows"])[:MOST_SLICES]
    return [slices[i] for i in sorted(order)]
