"""How good a model is on the validation rows: figures as JSON, and a page for a person."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError
from .files import written_beside
from .metrics import click_metrics, share_of_best
from .parquet import read_table


def evaluate_predictions(
    predictions: Path, truth: Path | None = None
) -> dict[str, float | int | None]:
    """Validation figures of a model.

    `auc`, `logloss`; `auc_blanked`: the same model with every history emptied; where `truth` holds
    the true probabilities of a simulated file, `best_auc`, the AUC of these on the same rows, and
    `share_of_best` = (auc - 0.5) / (best_auc - 0.5).
    """
    table = read_table(predictions, ("row", "label", "probability", "probability_blanked"))
    label = table["label"].to_numpy()
    figures: dict[str, Any] = {"rows": len(label), "clicks": int(label.sum())}
    figures |= click_metrics(label, table["probability"].to_numpy())
    blanked = click_metrics(label, table["probability_blanked"].to_numpy())
    figures["auc_blanked"] = blanked["auc"]
    if truth is not None:
        true_probability = np.asarray(read_table(truth, ["probability"])["probability"].to_numpy())[
            table["row"].to_numpy()
        ]
        figures["best_auc"] = click_metrics(label, true_probability)["auc"]
        figures["share_of_best"] = share_of_best(figures["auc"], figures["best_auc"])
    return figures


def write_report(
    predictions: Path, metrics: Path, truth: Path | None, report: Path, evaluation: Path
) -> None:
    """Write the figures of `evaluate_predictions` as JSON and as a Markdown page."""
    figures = evaluate_predictions(predictions, truth)
    try:
        training = json.loads(Path(metrics).read_text())
    except ValueError as error:
        raise UserError(
            f"{metrics}: damaged ({error}); delete it and the model beside it, and run the same "
            f"command again"
        ) from None
    with written_beside(evaluation) as temporary:
        temporary.write_text(json.dumps(figures, indent=1) + "\n")
    with written_beside(report) as temporary:
        temporary.write_text(_page(figures, training))


def _page(figures: dict[str, Any], training: dict[str, Any]) -> str:
    rows = [
        ("validation rows", f"{figures['rows']:,} ({figures['clicks']:,} clicks)"),
        ("AUC", f"{figures['auc']:.4f}"),
        ("logloss", f"{figures['logloss']:.5f}"),
        ("AUC with the histories blanked", f"{figures['auc_blanked']:.4f}"),
    ]
    if "best_auc" in figures:
        rows += [
            ("best possible AUC (true probabilities)", f"{figures['best_auc']:.4f}"),
            ("share of the best, (AUC - 0.5) / (best - 0.5)", f"{figures['share_of_best']:.3f}"),
        ]
    rows += [
        ("best epoch of", f"{training['best_epoch']} of {training['epochs']}"),
        ("train rows", f"{training['train_rows']:,}"),
        ("training time", f"{training['seconds']:.0f} s on {training['device']}"),
    ]
    warning = (
        "**SIMULATED DATA.** These figures come from the simulated stand-in and say nothing of "
        "real clicks.\n\n"
        if training["simulated_data"]
        else ""
    )
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"# FESeq on the validation rows\n\n{warning}| figure | value |\n|---|---|\n{table}\n"
