"""Figures of all models side by side: AUC, the length of the history, speed and memory."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from .drawing import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    LINES,
    MARKERS,
    ROW,
    TEXT_POINTS,
    VERMILION,
    end_labels,
    fitted,
    frame,
    inches,
    new_figure,
    number,
    only_text,
    read_rows,
    save,
    styled,
    with_interval,
)

COLUMNS = (
    *("size", "model", "kind", "simulated_data", "auc", "auc_low", "auc_high", "device"),
    *("train_samples_per_second", "predict_samples_per_second"),
    *("train_seconds", "peak_memory_mib", "epochs"),
)
# Colour, marker and word of each kind.
KINDS = {
    "feseq": (BLUE, "o", "FESeq"),
    "baseline": (VERMILION, "s", "baseline"),
    "ensemble": (GREEN, "D", "ensemble"),
}


@dataclass(frozen=True)
class Model:
    """One row of comparison.csv; NaN where it is empty. `auc` is (value, low, high)."""

    size: str
    name: str
    kind: str
    auc: tuple[float, float, float]
    train_speed: float  # samples per second
    predict_speed: float
    epoch_seconds: float
    memory: float  # GiB
    device: str

    @property
    def max_len(self) -> int:
        """Of a FESeq model, as its name has it; 0 for others."""
        found = re.fullmatch(r"len(\d+)(-\w+)?", self.name)
        return int(found[1]) if found else 0

    @property
    def variant(self) -> str:
        """The name behind the max_len; empty for a size's own settings."""
        return self.name.partition("-")[2]


def plot_comparison(comparison: Path, aucs: Path, by_max_len: Path, speed: Path) -> None:
    """Draw results/comparison.csv; raises UserError for a file without rows."""
    rows = read_rows(comparison, COLUMNS)
    models = [read_model(row) for row in rows]
    simulated = any(row["simulated_data"] == "True" for row in rows)
    save(auc_figure(models, simulated=simulated), aucs)
    save(max_len_figure(models, simulated=simulated), by_max_len)
    save(speed_figure(models, simulated=simulated), speed)


def read_model(row: dict[str, str]) -> Model:
    """A row of comparison.csv."""
    return Model(
        size=row["size"],
        name=row["model"],
        kind=row["kind"],
        auc=(number(row["auc"]), number(row["auc_low"]), number(row["auc_high"])),
        train_speed=number(row["train_samples_per_second"]),
        predict_speed=number(row["predict_samples_per_second"]),
        epoch_seconds=number(row["train_seconds"]) / (number(row["epochs"]) or math.nan),
        memory=number(row["peak_memory_mib"]) / 1024,
        device=row["device"],
    )


@styled
def auc_figure(models: Sequence[Model], *, simulated: bool) -> Figure:
    """Every model's AUC with its interval, best first among those of a size."""
    sizes = list(dict.fromkeys(model.size for model in models))
    models = sorted(
        models,
        key=lambda of: (sizes.index(of.size), math.isnan(of.auc[0]), -of.auc[0]),
    )
    figure = new_figure(max(7.4, 4.9 + _longest(models)), len(models) * ROW + 1.9)
    ax = figure.subplots()
    ax.grid(axis="x")
    right = ax.get_yaxis_transform()
    # The frame is made for those that learned something: chance would press them together.
    beyond = [model.auc[0] <= 0.5 < models[0].auc[0] for model in models]
    for place, (model, is_beyond) in enumerate(zip(models, beyond)):
        value, low, high = model.auc
        colour, marker, kind = _look(model)
        shown = f"{value:.4f}" if math.isfinite(value) else "no AUC"
        ax.text(1.02, place, f"{shown}  {kind}", transform=right, va="center", color=colour)
        if is_beyond:
            ax.plot(0, place, "<", color=colour, transform=right, clip_on=False)
            continue
        if math.isfinite(low) and math.isfinite(high):
            ax.hlines(place, low, high, color=colour, linewidth=2.5)
        ax.plot(value, place, marker, color=colour)
    _name_rows(ax, models)
    if math.isnan(models[0].auc[0]):
        ax.set_xlim(0.45, 1)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel("AUC on the validation rows")
    # Sizes have other validation rows each: no model is the best of all.
    is_best = len(models) > 1 and len({model.size for model in models}) == 1
    best = f"{_label(models[0], models)}{' is best' if is_best else ''}"
    notes = [f"{_sizes(models)}Bars: 95 % intervals."]
    notes += ["Triangle: left of the frame."] if any(beyond) else []
    title = f"{best}: AUC {with_interval(*models[0].auc, digits=4)}"
    frame(figure, title, notes, simulated=simulated)
    return figure


@styled
def max_len_figure(models: Sequence[Model], *, simulated: bool) -> Figure:
    """AUC, time and memory by max_len; a line for each size and variant of FESeq."""
    drawn = sorted((model for model in models if model.max_len), key=lambda model: model.max_len)
    if not drawn:
        return only_text("No FESeq model is compared: no max_len to draw", simulated=simulated)
    lines: dict[tuple[str, str], list[Model]] = {}
    for model in drawn:
        lines.setdefault((model.size, model.variant), []).append(model)
    height = max(2.6, (len(lines) + 1) * 1.25 * TEXT_POINTS / 72)
    figure = new_figure(7.4 + (len(lines) > 1), height + 2 * 2.0 + 1.8)
    panels = figure.subplots(3, 1, sharex=True, height_ratios=[height, 2, 2])
    unit, seconds = _time_unit([model.epoch_seconds for model in drawn])
    kinds: tuple[tuple[str, Callable[[Model], Sequence[float]]], ...] = (
        ("AUC", lambda model: model.auc),
        (f"{unit} / epoch", lambda model: [model.epoch_seconds / seconds]),
        ("memory (GiB)", lambda model: [model.memory]),
    )
    for ax, (name, of) in zip(panels, kinds):
        ax.grid()
        ax.set_ylabel(name)
        for index, line in enumerate(lines.values()):
            _draw_line(ax, line, [of(model) for model in line], index, len(lines))
        _scale_values(ax, [value for model in drawn for value in of(model)], from_0=name != "AUC")
    _scale_lengths(panels[-1], sorted({model.max_len for model in drawn}))
    panels[-1].set_xlabel("max_len (newest events kept of a history)")
    figure.align_ylabels()
    notes = [f"{_sizes(drawn)}Bars: 95 % intervals. Memory: peak of the training."]
    frame(figure, _gain(list(lines.values())), notes, simulated=simulated)
    if len(lines) > 1:
        ends = [
            (next((m.auc[0] for m in line[::-1] if m.auc[0] == m.auc[0]), math.nan), line[0], index)
            for index, line in enumerate(lines.values())
        ]
        end_labels(
            panels[0],
            [(end, _line_label(model, drawn), _colour(index)) for end, model, index in ends],
        )
    return figure


def _draw_line(
    ax: Axes, line: Sequence[Model], values: Sequence[Sequence[float]], index: int, of: int
) -> None:
    """Values, or values with their ends [lengths, 3], a few points beside the other lines."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    aside = (index - (of - 1) / 2) * min(5, 40 / of) / 72
    place = ax.transData + ScaledTranslation(aside, 0, figure.dpi_scale_trans)
    # The style of line changes at another pace than colour and marker.
    shape = MARKERS[index % len(MARKERS)] + LINES[index // len(MARKERS) % len(LINES)]
    x, colour = [model.max_len for model in line], _colour(index)
    for length, (_, *ends) in zip(x, values):
        if ends and np.isfinite(ends).all():
            ax.plot([length, length], ends, "-", color=colour, linewidth=2, transform=place)
    ax.plot(x, [value[0] for value in values], shape, color=colour, transform=place)


def _scale_values(ax: Axes, values: Sequence[float], *, from_0: bool) -> None:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        ax.set_yticks([])
        ax.text(0.5, 0.4, "not measured", transform=ax.transAxes, ha="center", color=GREY)
        return
    low, high = min(finite), max(finite)
    room = 0.1 * (high - low) or 0.02
    ax.set_ylim(*((0, 1.15 * high or 1) if from_0 else (low - room, high + room)))
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))


def _scale_lengths(ax: Axes, lengths: Sequence[int]) -> None:
    """Ticks at the lengths that there are, as many as have room; a wide range is logarithmic."""
    is_log = lengths[-1] > 5 * lengths[0]
    at = np.log(lengths) if is_log else np.array(lengths, dtype=float)
    room = 0.12 * (at[-1] - at[0]) or 0.2 * at[0]
    ends = np.array([at[0] - room, at[-1] + room])
    ax.set(xscale="log" if is_log else "linear", xlim=np.exp(ends) if is_log else ends)
    ticks: list[int] = []
    for length, place in zip(lengths, at):
        if not ticks or place - at[lengths.index(ticks[-1])] > 0.14 * (ends[1] - ends[0]):
            ticks.append(length)
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter("{x:,.0f}")


def _gain(lines: Sequence[Sequence[Model]]) -> str:
    """What the longest history of the best line brings, and what it costs."""
    known = [[model for model in line if math.isfinite(model.auc[0])] for line in lines]
    best = max(known, key=lambda line: max((model.auc[0] for model in line), default=-1.0))
    if not best:
        return "No AUC is known"
    short, long = best[0], best[-1]
    variant = f" ({fitted(short.variant, 3)})" if short.variant else ""
    if short is long:
        return f"max_len {short.max_len:,}{variant}: AUC {with_interval(*short.auc, digits=4)}"
    text = (
        f"From max_len {short.max_len:,} to {long.max_len:,}{variant} the AUC goes from "
        f"{short.auc[0]:.4f} to {long.auc[0]:.4f}"
    )
    times = long.epoch_seconds / (short.epoch_seconds or math.nan)
    return f"{text}, an epoch takes {times:.1f} times as long" if math.isfinite(times) else text


@styled
def speed_figure(models: Sequence[Model], *, simulated: bool) -> Figure:
    """Samples a second in training and prediction, and peak memory, of every model."""
    figure = new_figure(max(9.4, 6.9 + _longest(models)), len(models) * ROW + 2.2)
    panels = figure.subplots(1, 3, sharey=True)
    kinds: tuple[tuple[str, Callable[[Model], float]], ...] = (
        ("training\n(samples/s)", lambda model: model.train_speed),
        ("prediction\n(samples/s)", lambda model: model.predict_speed),
        ("peak memory\n(GiB)", lambda model: model.memory),
    )
    for ax, (name, of) in zip(panels, kinds):
        ax.set_title(name)
        _draw_amounts(ax, models, [of(model) for model in models])
    _name_rows(panels[0], models)
    feseq = [model for model in models if model.kind == "feseq"]
    speeds = [
        f"{amounts} samples/s in {what}"
        for what, amounts in (
            ("training", _range([model.train_speed for model in feseq or models])),
            ("prediction", _range([model.predict_speed for model in feseq or models])),
        )
        if amounts
    ]
    title = f"{'FESeq' if feseq else 'Baselines'}: {', '.join(speeds) or 'no speeds are known'}"
    devices = sorted({model.device for model in models if model.device})
    trained = f" Trained on: {', '.join(devices)}." if devices else ""
    notes = [f"{_sizes(models)}Axes are logarithmic.{trained}"]
    frame(figure, title, notes, simulated=simulated)
    return figure


def _draw_amounts(ax: Axes, models: Sequence[Model], amounts: Sequence[float]) -> None:
    """Points on a logarithmic axis, each with its number at the right of it."""
    known = [amount for amount in amounts if amount > 0]
    low, high = (min(known), max(known)) if known else (1.0, 1.0)
    # The numbers take the right half.
    span = max(high / low, 4.0)
    ax.set(xscale="log", xlim=(high / span / span**0.1, high * span**0.9))
    for place, (model, amount) in enumerate(zip(models, amounts)):
        colour, marker, _ = _look(model)
        if amount > 0:
            ax.plot(amount, place, marker, color=colour)
            ax.annotate(
                _amount(amount),
                (amount, place),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                color=colour,
            )
        else:
            across = ax.get_yaxis_transform()
            ax.text(0.03, place, "not measured", transform=across, va="center", color=GREY)
    ax.xaxis.set_major_locator(FixedLocator([]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.tick_params(axis="y", length=0)


def _name_rows(ax: Axes, models: Sequence[Model]) -> None:
    ax.set_yticks(range(len(models)), [_label(model, models) for model in models])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(models) - 0.3, -0.7)


def _look(model: Model) -> tuple[str, str, str]:
    """Colour, marker and word of a model's kind."""
    return KINDS.get(model.kind, (GREY, "v", fitted(model.kind, 1)))


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _label(model: Model, among: Sequence[Model]) -> str:
    """A model's name, with its size where there are several."""
    return fitted(model.name if _sizes(among) else f"{model.size} {model.name}", 4)


def _line_label(model: Model, among: Sequence[Model]) -> str:
    name = model.variant or "as configured"
    return fitted(name if _sizes(among) else f"{model.size} {name}", 3)


def _longest(models: Sequence[Model]) -> float:
    """Inches of the longest label."""
    return max(inches(_label(model, models), TEXT_POINTS) for model in models)


def _sizes(models: Sequence[Model]) -> str:
    """`Size: medium. `, or nothing where there are several and each is named with its model."""
    sizes = {model.size for model in models}
    return f"Size: {fitted(sizes.pop(), 3)}. " if len(sizes) == 1 else ""


def _range(amounts: Sequence[float]) -> str:
    """`400 to 1,100`; empty where nothing is known."""
    known = [_amount(amount) for amount in sorted(a for a in amounts if a > 0)]
    return " to ".join(dict.fromkeys([known[0], known[-1]])) if known else ""


def _amount(amount: float) -> str:
    """Three digits, and thousands apart: 0.0123, 1.23, 12,300."""
    return f"{float(f'{amount:.3g}'):,.{max(0, 2 - math.floor(math.log10(amount)))}f}"


def _time_unit(seconds: Sequence[float]) -> tuple[str, float]:
    """The name of a unit that suits, and how many seconds it has."""
    most = max((value for value in seconds if math.isfinite(value)), default=0)
    return ("hours", 3600) if most > 7200 else ("minutes", 60) if most > 300 else ("seconds", 1)
