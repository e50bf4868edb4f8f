"""One page for a person: which model is best, by how much, and what to submit."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..common.files import written_beside
from .comparison import read_comparison

# Models in the table; the comparison has them all.
_MOST = 30
_SIMULATED = (
    "**SIMULATED DATA.** These figures come from the simulated stand-in and say nothing of real "
    "clicks.\n"
)


def write_summary(
    comparison: Path,
    figures: Sequence[Path],
    summary: Path,
    *,
    submitting: Mapping[str, Mapping[str, float]],
    prior: str,
) -> None:
    """Write the page as Markdown.

    `figures` are shown in this order; `submitting` has the weights of the models that submit by
    size; `prior` is config's submission.prior.
    """
    rows = read_comparison(comparison)
    parts = ["# Models on the validation rows\n"]
    if any(row["simulated_data"] == "True" for row in rows):
        parts.append(_SIMULATED)
    parts += ["\n".join(f"- {line}" for line in _findings(rows, submitting, prior)), ""]
    parts += [_table(rows[:_MOST])]
    if len(rows) > _MOST:
        parts.append(f"{len(rows) - _MOST} more are in {comparison.name}.\n")
    parts += [f"![{path.stem}]({os.path.relpath(path, summary.parent)})" for path in figures]
    with written_beside(summary) as temporary:
        temporary.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _findings(
    rows: Sequence[Mapping[str, str]], submitting: Mapping[str, Mapping[str, float]], prior: str
) -> Iterable[str]:
    """What a reader asks first, one line each, for each size that submits."""
    for size, weights in submitting.items():
        of_size = [row for row in rows if row["size"] == size]
        if of_size:
            yield from _on_models(of_size)
        named = " + ".join(
            model if len(weights) == 1 else f"{weight:.2g} {model}"
            for model, weight in weights.items()
        )
        yield f"`results/submission_{size}.csv` is written by {named}."
        ours = [row for row in of_size if row["model"] in _writers(weights)]
        if ours:
            yield _prior_line(ours[0], prior)


def _on_models(rows: Sequence[Mapping[str, str]]) -> Iterable[str]:
    """How good the best model of a size is, whose models were measured on the same rows."""
    best = rows[0]
    yield (
        f"Best AUC on the {int(best['valid_rows']):,} validation rows of size {best['size']}: "
        f"**{best['model']}**, {_with_interval(best, 'auc')}."
    )
    yield from _ahead(rows)
    if best["auc_blanked"]:
        lost = float(best["auc"]) - float(best["auc_blanked"])
        yield (
            f"With its histories emptied its AUC is {float(best['auc_blanked']):.4f}: histories "
            f"are worth {lost:.4f}."
        )
    if best["share_of_best"]:
        yield (
            f"True probabilities reach an AUC of {float(best['best_auc']):.4f} on these rows; the "
            f"best model has {float(best['share_of_best']):.1%} of what can be learned, "
            f"(AUC - 0.5) / (best possible - 0.5)."
        )


def _writers(weights: Mapping[str, float]) -> set[str]:
    return {"ensemble"} if len(weights) > 1 else set(weights)


def _ahead(rows: Sequence[Mapping[str, str]]) -> Iterable[str]:
    """The best model beside the best one of another kind."""
    others = [row for row in rows if row["kind"] != rows[0]["kind"]]
    for kind, what in (("baseline", "baseline"), ("feseq", "FESeq model")):
        other = next((row for row in others if row["kind"] == kind), None)
        if other is not None:
            ahead = _with_interval(other, "auc_behind")
            equal = other["auc_behind_low"] and float(other["auc_behind_low"]) <= 0
            note = ": these rows do not tell them apart" if equal else ""
            yield f"Ahead of the best {what}, {other['model']}, by {ahead}{note}."


def _prior_line(row: Mapping[str, str], prior: str) -> str:
    scores = {"observed": float(row["score"]), "balanced": float(row["score_balanced"])}
    better = max(scores, key=lambda name: scores[name])
    advice = "the better of the two" if better == prior else f"{better} is the better of the two"
    return (
        f"Competition score 0.5 AP + 0.5 / (1 + WLL) of {row['model']}: {scores['observed']:.4f} "
        f"with observed and {scores['balanced']:.4f} with balanced odds; `submission.prior` is "
        f"{prior}, {advice}."
    )


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    has_intervals = any(row["auc_low"] for row in rows)
    head = (
        "model",
        "AUC",
        "behind",
        "AP",
        "logloss",
        "WLL",
        "score",
        "balanced",
        "share",
        "train",
        "MiB",
    )
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        cells = [_name(row), _with_interval(row, "auc"), _with_interval(row, "auc_behind")]
        cells += [_number(row, "average_precision", ".4f")]
        cells += [_number(row, "logloss", ".5f"), _number(row, "weighted_logloss", ".3f")]
        cells += [_number(row, "score", ".4f"), _number(row, "score_balanced", ".4f")]
        cells += [_number(row, "share_of_best", ".3f"), _number(row, "train_seconds", ".0f", " s")]
        cells += [_number(row, "peak_memory_mib", ",.0f")]
        lines.append(f"| {' | '.join(cells)} |")
    notes = (
        "Intervals hold 95 % of resamples of the validation rows. "
        * has_intervals
        + "Behind: the best AUC of the same size minus the model's, on the same rows. Sizes have "
        "validation rows of their own. AP: average precision; WLL: "
        "logloss with both classes weighing the same; score and balanced: 0.5 AP + 0.5 / (1 + WLL) "
        "with observed and with balanced odds; share: of the best possible AUC, on simulated data; "
        "MiB: peak memory of the training."
    )
    return "\n".join([*lines, "", notes, ""])


def _name(row: Mapping[str, str]) -> str:
    return f"{row['size']} {row['model']}"


def _with_interval(row: Mapping[str, str], name: str) -> str:
    value = _number(row, name, ".4f")
    if not row[f"{name}_low"]:
        return value
    return f"{value} [{_number(row, f'{name}_low', '.4f')}, {_number(row, f'{name}_high', '.4f')}]"


def _number(row: Mapping[str, str], name: str, form: str, unit: str = "") -> str:
    return f"{float(row[name]):{form}}{unit}" if row.get(name) else ""
