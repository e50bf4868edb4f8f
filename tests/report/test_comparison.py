"""All models in one table, and the pages that say what follows from it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score
from snakemake.utils import update_config

from support.configs import shipped
from support.predictions import put_predictions
from tossctr.catalog.check import checked_config
from tossctr.common.files import write_json
from tossctr.config.names import FEW_CLICKS
from tossctr.report.summary import models_plot, write_comparison, write_summary


def put_model(
    results: Path, size: str, name: str, auc: float, training: Any = (), **given: Any
) -> Path:
    """The files of a model whose metrics are `auc`, or follow from it; `given` replaces entries."""
    metrics = results / size / name / "metrics.json"
    metrics.parent.mkdir(parents=True)
    clicks = given.get("clicks", 100)
    low = auc - 0.01 if clicks >= FEW_CLICKS else None
    near = {"value": auc if clicks else None, "low": low, "high": auc + 0.01}
    names = ("auc", "logloss", "average_precision", "weighted_logloss", "score", "balanced_score")
    content = dict.fromkeys(("auc_ablated", "histories", "best_model", "gain_over_best"))
    content |= {"full_name": f"{size}/{name}", "metrics": dict.fromkeys(names, near)}
    content |= {"rows": 5000, "clicks": clicks, "enough_clicks": clicks >= FEW_CLICKS}
    write_json(metrics, content | {"simulated_data": False} | given)
    write_json(metrics.with_name("training.json"), dict(training))
    # A click's logit is higher by what gives about this AUC.
    random = np.random.default_rng(0 if size == "full" else 1)
    label = np.arange(300) < clicks
    logit = random.normal(size=300) + label * 2 * (auc - 0.5)
    put_predictions(metrics.with_name("valid_predictions.parquet"), label, logit)
    return metrics


@pytest.fixture
def metrics(tmp_path: Path) -> list[Path]:
    training = {"train_rows": 45_000, "seconds": 61.5, "peak_memory_bytes": 3 * 2**30}
    training |= {"settings": {"heads": 4, "mlp": [512, 256], "seed": 42}}
    measured = {"histories": {"value": 0.08, "low": 0.05, "high": 0.11, "p_value": 0.001}}
    measured |= {"auc_ablated": 0.63, "simulated_data": True}
    return [
        put_model(tmp_path, "full", "constant", 0.5),
        put_model(tmp_path, "full", "len150", 0.71, training, **measured),
        put_model(tmp_path, "full", "boosting", 0.70),
        put_model(tmp_path, "toy", "boosting", 0.95, rows=100),
    ]


def compared(metrics: list[Path], folder: Path, metric: str = "auc") -> pd.DataFrame:
    write_comparison(metrics, folder / "comparison.csv", metric=metric)
    return pd.read_csv(folder / "comparison.csv")


def test_rows_are_sorted_and_say_what_the_files_say(metrics: list[Path], tmp_path: Path) -> None:
    table = compared(metrics, tmp_path)
    assert table["size"].tolist() == ["full", "full", "full", "toy"]
    assert table["model"].tolist() == ["len150", "boosting", "constant", "boosting"]
    best = table.iloc[0]
    assert (best["auc"], best["auc_low"], best["auc_high"]) == (0.71, 0.7, 0.72)
    assert (best["peak_memory_mib"], best["train_seconds"]) == (3072, 61.5)
    assert best["settings"] == "heads=4 mlp=[512,256] seed=42"
    assert table["train_seconds"].isna().tolist() == [False, True, True, True]
    pd.testing.assert_frame_equal(compared(metrics[::-1], tmp_path), table)
    # Models of a size are compared on the same rows.
    aucs = {}
    for path in metrics[:3]:
        rows = pd.read_parquet(path.with_name("valid_predictions.parquet"))
        aucs[path.parent.name] = roc_auc_score(rows["label"], rows["logit"])
    expected = [aucs["len150"] - aucs[name] for name in table["model"][:3]]
    assert table["behind"].tolist() == pytest.approx([*expected, 0], abs=1e-5)
    # The plot has them in the same order.
    labels = [label for ax in models_plot(table).axes for label in ax.get_yticklabels()]
    names = [label.get_text().split() for label in labels]
    assert names == [["len150", "0.7100"], ["boosting", "0.7000"], ["boosting", "0.9500"]]


def summary_of(metrics: list[Path], folder: Path, submits: Any = ("len150",), **given: Any) -> str:
    compared(metrics, folder)
    options = {
        "importances": [],
        "facts": [],
        "submitting": {"full": submits, "toy": ["len100"]},
        "refit": False,
        "split": {"time": None, "group": None},
    }
    outputs = {"plot": "plots/models.svg", "summary": "summary.md", "view": "summary.html"}
    files = {name: folder / file for name, file in outputs.items()}
    write_summary(folder / "comparison.csv", **files, **options | given)
    return files["summary"].read_text()


def test_the_summary_answers_what_a_reader_asks(metrics: list[Path], tmp_path: Path) -> None:
    alarm = {"text": "Column age alone predicts the clicks", "advice": "Take it out"}
    drawn, facts = tmp_path / "full/len150/importance.svg", tmp_path / "full/data.json"
    write_json(facts, {"alarms": [alarm], "split_by": None})
    write_json(by_time := tmp_path / "toy/data.json", {"alarms": [], "split_by": "time"})
    drawn.write_text("<svg/>")
    split = {"time": "day", "group": None}
    text = summary_of(metrics, tmp_path, split=split, facts=[facts], importances=[drawn])
    gain = {"value": 0.02, "low": 0.01, "high": 0.03, "p_value": 0.01}
    given = {"best_model": "len150", "gain_over_best": {"score": {"value": 0.3}, "auc": gain}}
    training = {"settings": {"len150": 0.6, "boosting": 0.4}}
    blend = put_model(tmp_path, "full", "blend", 0.72, training, **given)
    submits = ["len150", "boosting"]
    options = {"split": split, "facts": [by_time], "refit": True, "submits": submits}
    blended = summary_of([*metrics, blend], tmp_path, **options)
    for page, answer in (
        (text, "SIMULATED DATA"),
        (text, "0.0800 [0.0500, 0.1100], significant"),
        (text, "drawn at random"),
        (text, "(full/len150/importance.svg)"),
        (text, "| full len150 | 0.7100 [0.7000, 0.7200] |"),
        (text, "**Column age alone predicts the clicks.** Take it out."),
        (blended, "the newest by day"),
        (blended, "also trained on the validation rows"),
        (blended, "len150=0.6 boosting=0.4"),
        (blended, "is 0.0200 [0.0100, 0.0300], significant"),
    ):
        assert answer in page, answer


@pytest.mark.parametrize("clicks", [0, FEW_CLICKS - 1, 100])
def test_nothing_is_claimed_that_is_not_significant(tmp_path: Path, clicks: int) -> None:
    """Few clicks, however far apart the AUCs are; many clicks and hardly a difference."""
    unsure = {"value": 0.004, "low": -0.01, "high": 0.02, "p_value": 0.6}
    if clicks < FEW_CLICKS:
        unsure |= dict.fromkeys(("low", "high", "p_value"))
    measured = {"auc_ablated": 0.7, "histories": unsure, "clicks": clicks}
    aucs = {"len150": 0.9899 if clicks == 100 else 0.7, "boosting": 0.99}
    paths = [put_model(tmp_path, "full", name, auc, **measured) for name, auc in aucs.items()]
    text = summary_of(paths, tmp_path)
    assert text.splitlines()[2].startswith("**Submit len150")
    claims = [line for line in text.splitlines() if "worth" in line]
    assert [line for line in claims if "not significant" not in line] == []
    assert len(claims) == (clicks == 100)
    assert "* |" not in text
    assert (f"there are {clicks} clicks in 5,000 validation rows" in text) == (clicks < FEW_CLICKS)


@pytest.mark.parametrize(
    ("given", "chosen", "reason", "to_configure"),
    [
        ({"boosting": 0.99}, "boosting", "Significantly worse: len150", "boosting"),
        (
            {"boosting": 0.901, "len150": 0.9},
            "len150",
            "Not significantly worse: len150. Significantly worse: logistic",
            None,
        ),
        ({"submits": ["len500"]}, "len150", "configured len500 is not", "len150"),
        ({"submits": ["len150", "len500"]}, "len150", "configured blend is not", "len150"),
        # A baseline is the best, and cannot be submitted.
        ({"logistic_regression": 0.99}, "len150", "logistic_regression, which cannot", None),
        ({"len150": 0.501, "constant": 0.5}, "len150", "better than a constant", None),
    ],
    ids=str,
)
def test_the_line_below_the_title_says_what_to_submit(
    tmp_path: Path, given: dict[str, Any], chosen: str, reason: str, to_configure: str | None
) -> None:
    """Two models and a baseline; `given` has their AUCs."""
    aucs = {"len150": 0.8, "boosting": 0.5, "logistic_regression": 0.5}
    aucs |= {name: given.pop(name) for name in (*aucs, "constant") if name in given}
    paths = [put_model(tmp_path, "full", name, auc) for name, auc in aucs.items()]
    lines = summary_of(paths, tmp_path, **given).splitlines()
    assert lines[2].startswith(f"**Submit {chosen}**")
    assert reason in lines[2]
    way = next(line for line in lines if "snakemake" in line)
    assert "`snakemake --cores 4 results/submission_full.csv`" in way
    offered = re.findall(r"`(sizes: .*?)`", way)
    assert len(offered) == (to_configure is not None)
    for text in offered:
        config = shipped()
        update_config(config, yaml.safe_load(text))
        assert checked_config(config)["sizes"]["full"]["submission_models"] == [to_configure]


def test_the_comparison_is_by_the_metric_that_the_table_is_scored_by(tmp_path: Path) -> None:
    paths = [put_model(tmp_path, "full", name, 0.8) for name in ("len150", "boosting")]
    label = np.arange(300) < 100
    logit = np.random.default_rng(0).normal(size=300) + label
    # The same order, and so the same AUC, but the second is too sure of itself.
    for path, factor in zip(paths, (1, 9)):
        put_predictions(path.with_name("valid_predictions.parquet"), label, factor * logit)
    for metric, is_worse in (("logloss", True), ("auc", False)):
        row = compared(paths, tmp_path, metric).set_index("model").loc["boosting"]
        worse = [row["behind"] > 0, row["behind_low"] > 0, row["behind_p_value"] < 0.05]
        assert worse == [is_worse] * 3
