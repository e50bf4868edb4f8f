"""All models in one table, and the pages that say what follows from it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.metrics import roc_auc_score
from snakemake.utils import update_config

from support.configs import shipped
from support.predictions import put_predictions
from tossctr.catalog.check import checked_config
from tossctr.common.errors import UserError
from tossctr.common.files import read_json, write_json
from tossctr.common.parquet import write_table
from tossctr.config.names import FEW_CLICKS
from tossctr.report.summary import write_comparison, write_summary


def put_model(
    results: Path, size: str, name: str, auc: float, training: Any = (), **given: Any
) -> Path:
    """The files of a model whose metrics are `auc`, or follow from it; `given` replaces entries."""
    metrics = results / size / name / "metrics.json"
    metrics.parent.mkdir(parents=True)
    clicks = given.get("clicks", 100)
    enough = clicks >= FEW_CLICKS
    near = {"value": auc, "low": auc - 0.01 if enough else None, "high": auc + 0.01}
    names = ("auc", "logloss", "average_precision", "weighted_logloss", "score", "balanced_score")
    content = dict.fromkeys(("auc_ablated", "histories", "best_model", "gain_over_best"))
    content |= {"full_name": f"{size}/{name}", "metrics": dict.fromkeys(names, near)}
    content |= {"rows": 5000, "clicks": clicks, "enough_clicks": enough}
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


def test_what_cannot_be_compared_is_refused(metrics: list[Path], tmp_path: Path) -> None:
    about = read_json(metrics[2])
    for wrong in (read_json(metrics[0]) | {"full_name": "full/constant"}, {"columns": []}):
        write_json(metrics[2], wrong)
        with pytest.raises(UserError, match="full/boosting"):
            compared(metrics, tmp_path)
    write_json(metrics[2], about)
    predictions = metrics[2].with_name("valid_predictions.parquet")
    table = pq.read_table(predictions)
    write_table(table.set_column(0, "row", pa.array(np.arange(1, 301))), predictions)
    with pytest.raises(UserError, match=r"full/boosting.*other rows"):
        compared(metrics, tmp_path)


def summary_of(metrics: list[Path], folder: Path, **given: Any) -> str:
    compared(metrics, folder, given.pop("metric", "auc"))
    options = {
        "submitting": {"full": given.pop("submits", ["len150"]), "toy": ["len100"]},
        "refit": False,
        "split": {"time": None, "group": None, "is_auto": True},
    }
    inputs = [given.pop(name, ()) for name in ("importances", "facts")]
    files = folder / "summary.md", folder / "summary.html"
    inputs = [folder / "comparison.csv", *inputs, folder / "plots/models.svg"]
    write_summary(*inputs, *files, **options | given)
    return (folder / "summary.md").read_text()


def test_the_summary_answers_what_a_reader_asks(metrics: list[Path], tmp_path: Path) -> None:
    alarm = {"text": "Column age alone predicts the clicks", "advice": "Take it out"}
    drawn, facts = tmp_path / "full/len150/importance.svg", tmp_path / "full/data.json"
    write_json(facts, {"alarms": [alarm]})
    drawn.write_text("<svg/>")
    text = summary_of(metrics, tmp_path, facts=[facts], importances=[drawn])
    gain = {"value": 0.02, "low": 0.01, "high": 0.03, "p_value": 0.01}
    gain = {"score": {"value": 0.3}, "auc": gain}
    given = {"best_model": "len150", "gain_over_best": gain}
    training = {"settings": {"len150": 0.6, "boosting": 0.4}}
    blend = put_model(tmp_path, "full", "blend", 0.72, training, **given)
    split = {"time": "day", "group": None, "is_auto": False}
    submits = ["len150", "boosting"]
    blended = summary_of([*metrics, blend], tmp_path, split=split, refit=True, submits=submits)
    for page, answer in (
        (text, "SIMULATED DATA"),
        (text, "0.0800 [0.0500, 0.1100], significant"),
        (text, "drawn at random"),
        (text, "(full/len150/importance.svg)"),
        (text, "| full len150 | 0.7100 [0.7000, 0.7200] |"),
        (text, "**Column age alone predicts the clicks.** Take it out."),
        (blended, "the newest by day"),
        (blended, "on validation rows too"),
        (blended, "len150=0.6 boosting=0.4"),
        (blended, "gains 0.0200 [0.0100, 0.0300], significant"),
    ):
        assert answer in page, answer


@pytest.mark.parametrize("clicks", [1, FEW_CLICKS - 1, 100])
def test_nothing_is_claimed_that_is_not_significant(tmp_path: Path, clicks: int) -> None:
    """Few clicks, however far apart the AUCs are; many clicks and hardly a difference."""
    unsure = {"value": 0.004, "low": -0.01, "high": 0.02, "p_value": 0.6}
    if clicks < FEW_CLICKS:
        unsure |= dict.fromkeys(("low", "high", "p_value"))
    measured = {"auc_ablated": 0.7, "histories": unsure, "clicks": clicks}
    other = 0.9899 if clicks == 100 else 0.7
    paths = [
        put_model(tmp_path, "full", "len150", 0.99, **measured),
        put_model(tmp_path, "full", "boosting", other, **measured),
    ]
    text = summary_of(paths, tmp_path)
    claims = [line for line in text.splitlines() if "worth" in line]
    assert [line for line in claims if "not significant" not in line] == []
    assert len(claims) == (clicks == 100)
    assert "* |" not in text
    assert ("cannot tell" in text) == (clicks < FEW_CLICKS)


SUBMITS = "`snakemake --cores 4 results/submission_full.csv`"


def first_lines(folder: Path, **given: Any) -> tuple[str, str]:
    """The sentence and the way of the summary of two models and a baseline.

    `given` has their AUCs.
    """
    names = {"len150": 0.8, "boosting": 0.5, "logistic_regression": 0.5}
    aucs = {name: given.pop(name, auc) for name, auc in names.items()}
    clicks = given.pop("clicks", 100)
    paths = [put_model(folder, "full", name, auc, clicks=clicks) for name, auc in aucs.items()]
    lines = summary_of(paths, folder, **given).splitlines()
    return lines[0], next(line for line in lines if "snakemake" in line)


@pytest.mark.parametrize(
    ("given", "named", "other", "key"),
    [
        ({"len150": 0.99}, "Submit len150", "boosting", None),
        ({"boosting": 0.99}, "Submit boosting", "len150", "boosting"),
        ({"boosting": 0.8001}, "Submit len150", "boosting", None),
        ({"logistic_regression": 0.8}, "Submit len150", "logistic_regression", None),
        ({"boosting": 0.99, "logistic_regression": 0.99}, "Submit boosting", "len150", "boosting"),
        ({"clicks": FEW_CLICKS - 1, "boosting": 0.99}, "Submit len150", "29 clicks", None),
        ({"submits": ["boosting"]}, "Submit len150", "boosting", "len150"),
        ({"submits": ["len500"]}, "Submit len150", "len500", "len150"),
        ({"submits": ["len150", "len500"]}, "Submit len150", "blend", "len150"),
        ({"boosting": 0.901, "len150": 0.9}, "Submit len150", "worse: logistic", None),
        ({"boosting": 0.901, "len150": 0.9}, "Submit len150", "level with it: len150;", None),
        # A baseline is the best, and cannot be submitted.
        ({"logistic_regression": 0.99}, "Submit len150", "cannot be submitted, is best; si", None),
    ],
    ids=str,
)
def test_the_first_line_says_what_to_submit(
    tmp_path: Path, given: dict[str, Any], named: str, other: str, key: str | None
) -> None:
    line, way = first_lines(tmp_path, **given)
    assert line.startswith(f"**{named}")
    assert other in line
    offered = re.findall(r"`(sizes: .*?)`", way)
    assert len(offered) == (key is not None)
    for text in offered:
        config = shipped()
        update_config(config, yaml.safe_load(text))
        assert checked_config(config)["sizes"]["full"]["submission_models"] == [key]
    assert SUBMITS in way


def test_the_comparison_is_by_the_metric_that_the_table_is_scored_by(tmp_path: Path) -> None:
    paths = [put_model(tmp_path, "full", name, 0.8) for name in ("len150", "boosting")]
    predictions = paths[1].with_name("valid_predictions.parquet")
    table = pd.read_parquet(predictions)
    # The same order, and so the same AUC, but too sure of itself.
    logit = 9 * pd.read_parquet(paths[0].with_name(predictions.name))["logit"].to_numpy()
    put_predictions(predictions, table["label"].to_numpy(), logit)
    for metric, is_worse in (("logloss", True), ("auc", False)):
        row = compared(paths, tmp_path, metric).set_index("model").loc["boosting"]
        assert (row["behind"] > 0) == is_worse
        assert (row["behind_p_value"] < 0.05) == is_worse
        assert (row["behind_low"] > 0) == is_worse
