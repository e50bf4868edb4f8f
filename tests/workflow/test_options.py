"""Every option goes all the way, from a small table to a checked CSV."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss

from support.jobs import run_job
from support.options import CASES, FIRST, VALUES, as_config, both_models, drawn_cases, options
from tossctr.catalog.loading import load_model
from tossctr.catalog.model_kinds import kind_of, submission_models, submission_weights
from tossctr.catalog.schema import sampling_of, submission_prior, table_score
from tossctr.common.files import read_json
from tossctr.common.logits import sigmoid
from tossctr.config.columns import Columns
from tossctr.config.declared import Runtime
from tossctr.config.names import MODEL_FILE, REFIT
from tossctr.datasets.conversion import convert_test, convert_train
from tossctr.datasets.draw import sample
from tossctr.datasets.opening import TrainAndValidation, open_table
from tossctr.datasets.split import Sampling
from tossctr.evaluate.blending import blend_predictions
from tossctr.evaluate.measurement import write_metrics
from tossctr.evaluate.metric_table import read_predictions
from tossctr.features.fitting import fit_feature_map
from tossctr.predict.blend import Blend
from tossctr.predict.model_predictions import predict_part, predict_validation
from tossctr.predict.scoring import score_files
from tossctr.predict.submission import write_submission
from tossctr.raw.parts import read_part_list
from tossctr.raw.submission_ids import list_parts

ROWS, TEST_ROWS, PART_ROWS, TRAIN_PART_ROWS = 160, 24, 15, 60
PARTS_OF_TEST = 2
RUNTIME = Runtime(device="cpu")


def click_table(rows: int, days: list[int], seed: int) -> pd.DataFrame:
    """Rows with all kinds of columns; most users come once, some histories are empty."""
    random = np.random.default_rng(seed)
    length = random.integers(0, 9, rows)

    def histories(least: int, most: int) -> list[str]:
        return [",".join(map(str, random.integers(least, most, n))) for n in length]

    def events(*tokens: str) -> list[str]:
        return [",".join(random.choice(tokens, n)) for n in length]

    missing = random.random(rows) < 0.2
    return pd.DataFrame(
        {
            "visit": [f"v{i:03}" for i in random.permutation(rows)],
            "number": random.permutation(rows) + 5,
            "day": np.sort(random.choice(days, rows)),
            "user": random.integers(0, 4 * rows, rows).astype(str),
            "country": random.choice(["kr", "us", None], rows),
            "hour": random.integers(0, 24, rows),
            "is_new": random.random(rows) < 0.5,
            "channel": random.choice(["web", "app", ""], rows),
            "shop": random.choice([3, 17, 99], rows),
            "item": random.choice(["1", "2", "3", "other"], rows),
            "film": random.choice(["a", "b", None], rows),
            "events": events("1", "2", "3", "other", "x-4", "5", "日本"),
            "clips": histories(0, 30),
            "event_times": histories(0, 60),
            "at": random.integers(40, 80, rows),
            "price": np.where(missing, np.nan, random.normal(size=rows)),
            "score": np.where(missing, np.inf, random.normal(size=rows)),
            "age": random.integers(18, 30, rows),
        }
    )


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.parquet, test.parquet and sample_submission_{ID column}.csv."""
    folder = tmp_path_factory.mktemp("raw")
    train = click_table(ROWS, [1, 2, 3, 4, 5], seed=1)
    train["bought"] = np.random.default_rng(2).random(ROWS) < 0.4
    train["bought_text"] = train["bought"].map({False: "0", True: "1.0"})
    train.drop(columns=["visit", "number"]).to_parquet(folder / "train.parquet")
    test = click_table(TEST_ROWS, [6], seed=3)
    test.to_parquet(folder / "test.parquet", row_group_size=PART_ROWS)
    for name in ("visit", "number"):
        sample = test[[name]].sample(frac=1, random_state=4).assign(prediction=0)
        sample.to_csv(folder / f"sample_submission_{name}.csv", index=False)
    return folder


def h5_files(out: Path, split: str) -> list[Path]:
    """The files of all parts."""
    return sorted(out.glob(f"{split}*.h5"))


def to_h5(raw: Path, out: Path, config: dict[str, Any]) -> None:
    """The steps `sample`, `convert_train`, `fit_feature_map` and `convert_test`."""
    columns, size = Columns.from_config(config["table"]["columns"]), config["sizes"]["toy"]
    sampling = Sampling(**sampling_of(config))
    selection = out / "selection.parquet"
    train = raw / "train.parquet"
    files = {"selection": selection, "parts": out / "train_parts.json"}
    sample(train, columns.label, size["rows"], sampling, part_rows=TRAIN_PART_ROWS, **files)
    for i in range(len(read_part_list(files["parts"]).parts)):
        h5 = {name: out / f"{name}{i}.h5" for name in ("train", "valid")}
        convert_train(train, columns=columns, **files, **h5, part=i)
    train, least = h5_files(out, "train"), size["min_count"]
    fit_feature_map(train, columns, least).write(out / "map.json")
    if config["submission"]["refit"]:
        fit_feature_map(train, columns, least, h5_files(out, "valid")).write(out / "all_rows.json")
    list_parts(raw / "test.parquet", columns, out / "parts.json", rows=PART_ROWS)
    for i, part in enumerate(read_part_list(out / "parts.json").parts):
        convert_test(raw / "test.parquet", columns, out / f"part{i}.h5", part=part)


def train_and_predict(out: Path, config: dict[str, Any], name: str) -> None:
    """The steps of one model."""
    settings = kind_of(name).settings(config, "toy", name)
    valid = h5_files(out, "valid")
    made = run_job(out, out / name, settings, feature_map=out / "map.json")
    model = made["model"]
    predictions = model.with_name("valid_predictions.parquet")
    predict_validation(model, valid, predictions, runtime=RUNTIME)
    write_metrics(predictions, valid, out / name / "metrics.json")
    measured = read_json(out / name / "metrics.json")["metrics"]
    assert np.isfinite([metric["value"] for metric in measured.values()]).all()
    if config["submission"]["refit"]:
        again = {"refit_of": made["training"], "feature_map": out / "all_rows.json"}
        model = run_job(out, out / name / REFIT, settings, **again)["model"]
    for i in range(PARTS_OF_TEST):
        part = out / name / f"part{i}.parquet"
        predict_part(model, out / f"part{i}.h5", part, runtime=RUNTIME)


def last_fit(out: Path, name: str) -> Path:
    """The file of the model that submits."""
    again = out / name / REFIT / MODEL_FILE
    return again if again.exists() else out / name / MODEL_FILE


def submit(raw: Path, out: Path, config: dict[str, Any]) -> dict[str, float]:
    """The steps `blend` and `submit`; the weights of the models."""
    names, weights = submission_models(config, "toy"), submission_weights(config, "toy")
    if len(names) > 1:
        predictions = [out / name / "valid_predictions.parquet" for name in names]
        files = (out / "blend.parquet", out / "weights.json", out / "training.json")
        blend_predictions(predictions, weights, *files, by=table_score(config).metric)
        weights = read_json(files[1])
    columns = config["table"]["columns"]
    write_submission(
        [out / name / f"part{i}.parquet" for name in names for i in range(PARTS_OF_TEST)],
        out / "parts.json",
        [last_fit(out, name) for name in names],
        out / "submission.csv",
        out / "about.json",
        id_column=columns["id"],
        label_column=columns["label"],
        weights=weights,
        prior=submission_prior(config),
        sample_submission=str(raw / f"sample_submission_{columns['id']}.csv"),
    )
    return weights


def check_model(out: Path, name: str) -> None:
    """A model read back says of the validation rows what was written and what training saw."""
    model = out / name / MODEL_FILE
    written = read_predictions(model.with_name("valid_predictions.parquet"))
    logit = written["logit"].to_numpy()
    read_back = load_model(model, runtime=RUNTIME).predict(h5_files(out, "valid"))
    np.testing.assert_array_equal(read_back, logit)
    probability = sigmoid(logit)
    # XGBoost's own metric takes 1 - p in single precision.
    rounding = np.finfo(np.float32).eps / np.minimum(probability, 1 - probability)
    expected = read_json(out / name / "training.json")["valid_logloss"]
    measured = log_loss(written["label"].to_numpy(), probability)
    assert measured == pytest.approx(expected, abs=1e-5 + rounding.mean())


def check_submission(
    raw: Path, out: Path, config: dict[str, Any], weights: dict[str, float]
) -> None:
    """The CSV has all IDs in the sample's order, each with the probability of its own row."""
    name, label = config["table"]["columns"]["id"], "prediction"
    table = pd.read_csv(out / "submission.csv")
    wanted = pd.read_csv(raw / f"sample_submission_{name}.csv")[name]
    assert list(table) == [name, label]
    assert table[name].tolist() == wanted.tolist()
    parts = [out / f"part{i}.h5" for i in range(PARTS_OF_TEST)]
    logit = np.zeros(TEST_ROWS)
    for model, weight in weights.items():
        loaded = load_model(last_fit(out, model), runtime=RUNTIME)
        logit += weight * np.concatenate([loaded.predict(part) for part in parts])
    if submission_prior(config) == "balanced":
        train = h5_files(out, "train")
        rows = (
            TrainAndValidation(train, h5_files(out, "valid"))
            if config["submission"]["refit"]
            else train
        )
        with open_table(rows) as table_of_fit:
            clicks = table_of_fit.column("label").mean()
        logit = logit - np.log(clicks / (1 - clicks))
    ids = pd.read_parquet(raw / "test.parquet")[name]
    expected = pd.Series(1 / (1 + np.exp(-logit)), index=ids)[wanted].to_numpy()
    assert table[label].between(0, 1).all()
    np.testing.assert_allclose(table[label], expected, atol=1e-5)


def check_scores(raw: Path, out: Path, config: dict[str, Any], weights: dict[str, float]) -> None:
    """Each test row gets the submission's probability, to the bit."""
    columns = Columns.from_config(config["table"]["columns"])
    score_files(
        [last_fit(out, name) for name in weights],
        [str(raw / "test.parquet")],
        out / "scores.parquet",
        id_column=columns.id,
        weights=list(weights.values()),
        prior=submission_prior(config),
        part_rows=PART_ROWS,
        runtime=RUNTIME,
        threads=1,
    )
    scores = pd.read_parquet(out / "scores.parquet").set_index(columns.id)["probability"]
    ids = pd.read_parquet(raw / "test.parquet")[columns.id].astype(str)
    assert scores.index.tolist() == ids.tolist()
    submitted = pd.read_csv(out / "submission.csv", dtype={columns.id: str})
    expected = submitted.set_index(columns.id)["prediction"][ids]
    np.testing.assert_array_equal(scores, expected.astype(np.float32))
    paths = [last_fit(out, name) for name in weights]
    blend = Blend.load(paths, [*weights.values()])
    in_memory = blend.score(pq.read_table(raw / "test.parquet"), submission_prior(config))
    np.testing.assert_allclose(in_memory, expected, 0, 1e-6)


def test_every_value_of_every_option_is_in_the_first_cases() -> None:
    for path, values in options().items():
        # A new option whose type tells no two values gets some in VALUES.
        assert len(values) >= 2 or path in VALUES, path
        drawn = [case[path] for case in drawn_cases()[:FIRST]]
        assert all(value in drawn for value in values), path
    assert {*VALUES} <= {*options()}


@pytest.mark.workflow
@pytest.mark.parametrize(
    "number",
    [*range(FIRST), *(pytest.param(i, marks=pytest.mark.slow) for i in range(FIRST, CASES))],
)
def test_from_a_table_to_a_submission(number: int, raw: Path, tmp_path: Path) -> None:
    config = as_config(drawn_cases()[number])
    to_h5(raw, tmp_path, config)
    for name in both_models(config):
        train_and_predict(tmp_path, config, name)
        check_model(tmp_path, name)
    weights = submit(raw, tmp_path, config)
    check_submission(raw, tmp_path, config, weights)
    check_scores(raw, tmp_path, config, weights)
