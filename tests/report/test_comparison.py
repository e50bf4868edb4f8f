"""All models in one table, and the page that says what follows from it."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from feseq.common.errors import UserError
from feseq.common.files import write_json
from feseq.common.parquet import write_table
from feseq.evaluate.auc import LEAST_CLICKS
from feseq.report.comparison import write_comparison
from feseq.report.summary import write_summary
from feseq.report.table import read_comparison
from feseq.report.two_models import write_two_models
from support.shop import CONFIG, refused, snakemake


def put_model(results: Path, size: str, name: str, auc: float, **given: Any) -> Path:
    """The files of a model whose figures are `auc`, or follow from it."""
    folder = results / size / name
    folder.mkdir(parents=True)
    clicks = given.get("clicks", 100)
    enough = clicks >= LEAST_CLICKS
    near = {"low": auc - 0.01, "high": auc + 0.01} if enough else {"low": None, "high": None}
    interval = {"value": auc} | near
    names = ("auc", "logloss", "average_precision", "weighted_logloss", "score")
    nothing = {"value": 0.1, "low": None, "high": None}
    metrics = {
        "rows": given.get("rows", 5000),
        "unseen": given.get("unseen", False),
        "clicks": clicks,
        "enough_clicks": enough,
        "simulated_data": given.get("simulated", False),
        "metrics": dict.fromkeys(names, interval),
        "balanced": dict.fromkeys(names, interval | {"value": auc + 0.1}),
        "score_gain": given.get("gain", {"value": 0.1, "low": 0.05, "high": 0.15}),
        "auc_blanked": given.get("blanked"),
        "histories": given.get("histories"),
        "ahead_of": given.get("ahead_of"),
        "ahead": given.get("ahead"),
        "expected_auc": given.get("expected"),
        "best_auc": given.get("best"),
        "best_auc_of_new_users": given.get("best"),
        "share_of_best": given.get("share"),
    }
    if not enough:
        metrics["score_gain"] = nothing
        metrics["histories"] = nothing | {"chance": None}
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "training.json", given.get("training", {}))
    # A click's logit is higher by what gives about this AUC.
    random = np.random.default_rng(0 if size == "full" else 1)
    label = np.arange(300) < clicks
    logit = random.normal(size=300) + label * 2 * (auc - 0.5)
    columns = {"row": np.arange(300), "label": label.astype(np.uint8), "logit": logit}
    columns |= {"logit": logit.astype(np.float32), "judges": np.ones(300, bool)}
    write_table(pa.table(columns), folder / "valid_predictions.parquet", {"click_rate": "0.3"})
    write_json(folder / "valid_speed.json", given.get("speed", {}))
    return folder / "metrics.json"


@pytest.fixture
def metrics(tmp_path: Path) -> list[Path]:
    training = {"train_rows": 45_000, "seconds": 61.5, "peak_memory_bytes": 3 * 2**30}
    training |= {"settings": {"heads": 4, "mlp": [512, 256], "seed": 42}}
    return [
        put_model(tmp_path, "full", "constant", 0.5),
        put_model(
            tmp_path,
            "full",
            "len150",
            0.71,
            blanked=0.63,
            histories={"value": 0.08, "low": 0.05, "high": 0.11, "chance": 0.001},
            expected=0.73,
            best=0.81,
            share=0.677,
            simulated=True,
            training=training,
            speed={"samples_per_second": 2000.0},
        ),
        put_model(tmp_path, "full", "boosting", 0.70),
        put_model(tmp_path, "toy", "boosting", 0.95, rows=100),
    ]


def test_rows_are_sorted_and_say_what_the_files_say(metrics: list[Path], tmp_path: Path) -> None:
    write_comparison(metrics, tmp_path / "comparison.csv", tmp_path / "comparison.html")
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert table["size"].tolist() == ["full", "full", "full", "toy"]
    assert table["model"].tolist() == ["len150", "boosting", "constant", "boosting"]
    assert table["kind"].tolist() == ["feseq", "boosting", "baseline", "boosting"]
    best = table.iloc[0]
    assert (best["auc"], best["auc_low"], best["auc_high"]) == (0.71, 0.7, 0.72)
    assert best["score_balanced"] == pytest.approx(0.81)
    assert best["peak_memory_mib"] == 3072
    assert best["train_seconds"] == 61.5
    assert best["predict_samples_per_second"] == 2000
    assert best["settings"] == "heads=4 mlp=[512,256] seed=42"
    assert table.columns[-1] == "settings"
    assert table["train_seconds"].isna().tolist() == [False, True, True, True]


def test_the_order_of_the_files_does_not_matter(metrics: list[Path], tmp_path: Path) -> None:
    texts = set()
    for order in (metrics, metrics[::-1]):
        write_comparison(order, tmp_path / "comparison.csv", tmp_path / "comparison.html")
        texts.add((tmp_path / "comparison.csv").read_text())
    assert len(texts) == 1


def summary_of(
    metrics: list[Path],
    folder: Path,
    prior: str = "observed",
    refit: bool = False,
    split: Any = None,
    weights: Any = MappingProxyType({"len150": 1.0}),
    facts: Sequence[Path] = (),
) -> str:
    write_comparison(metrics, folder / "comparison.csv", folder / "comparison.html")
    figures = [folder / f"figures/{name}.svg" for name in ("aucs", "by_max_len", "speed")]
    figures[0].parent.mkdir(exist_ok=True)
    for figure in figures:
        figure.write_text("<svg/>")
    write_summary(
        folder / "comparison.csv",
        figures,
        folder / "summary.md",
        folder / "summary.html",
        submitting={"full": weights},
        prior=prior,
        refit=refit,
        split=split or {"time": None, "group": None},
        facts=facts,
    )
    return (folder / "summary.md").read_text()


def test_the_summary_answers_what_a_reader_asks(metrics: list[Path], tmp_path: Path) -> None:
    text = summary_of(metrics, tmp_path)
    for answer in (
        "SIMULATED DATA",
        "Highest AUC on the 5,000 validation rows of size full, 100 clicks among them: **len150**, "
        "0.7100 [0.7000, 0.7200].",
        "ahead of the best baseline, constant, by 0.",
        "ahead of the best model of boosting, boosting, by 0.0",
        "they are worth 0.0800 [0.0500, 0.1100].",
        "the AUC of len150 is 0.7300 and the best possible 0.8100",
        "It has 67.7% of what can be learned",
        "`snakemake --cores 4 results/submission_full.csv` submits len150.",
        "0.7100 with observed and 0.8100 with balanced odds; `submission.prior` is observed, "
        "balanced is the better of the two",
        "learned from 45,000 simulated rows, measured on 5,000 other simulated rows with 100",
        "![aucs](figures/aucs.svg)",
        "| full len150 | 100 | 0.7100 [0.7000, 0.7200] |",
        "drawn at random, so they share days and users with the train rows",
        "They also chose each model's epoch",
    ):
        assert answer in text, answer
    assert "the better of the two" in summary_of(metrics, tmp_path, prior="balanced")


def test_the_summary_has_no_figure_of_lengths_without_two_of_them(
    metrics: list[Path], tmp_path: Path
) -> None:
    assert "![by_max_len]" not in summary_of(metrics, tmp_path)
    two = [*metrics, put_model(tmp_path, "full", "len500", 0.72)]
    assert "![by_max_len](figures/by_max_len.svg)" in summary_of(two, tmp_path)


def test_the_agreement_is_of_ranks(metrics: list[Path], tmp_path: Path) -> None:
    logits = {}
    for path in metrics[:3]:
        table = pq.read_table(path.with_name("valid_predictions.parquet"))
        logits[path.parent.name] = table["logit"].to_numpy()
    write_comparison(metrics, tmp_path / "comparison.csv", tmp_path / "comparison.html")
    table = pd.read_csv(tmp_path / "comparison.csv").query("size == 'full'").set_index("model")
    for model, found in table["agreement"].items():
        expected = spearmanr(logits["len150"], logits[str(model)]).statistic
        assert found == pytest.approx(expected, abs=1e-5)


def test_the_summary_says_which_rows_judge(tmp_path: Path) -> None:
    metrics = [put_model(tmp_path, "full", "boosting", 0.7, unseen=True, share=0.5)]
    text = summary_of(metrics, tmp_path, split={"time": "day", "group": "seq"}, refit=True)
    assert "submits len150, trained again on all rows" in text
    assert "the newest by `day`, without a `seq` that is in the train rows" in text
    assert "They chose nothing" in text


def test_the_summary_has_the_alarms_of_each_size_and_the_way_to_its_page(tmp_path: Path) -> None:
    alarm = {"text": "Column age alone predicts the clicks", "advice": "Take it out"}
    facts = [tmp_path / size / "data.json" for size in ("full", "toy")]
    for path, alarms in zip(facts, ([alarm], [])):
        path.parent.mkdir(exist_ok=True)
        write_json(path, {"alarms": alarms})
    text = summary_of([put_model(tmp_path, "full", "boosting", 0.7)], tmp_path, facts=facts)
    for part in (
        "## Alarms of the data: [full/data.md](full/data.md)\n\n"
        "- **Column age alone predicts the clicks.** Take it out.\n",
        "## Alarms of the data: [toy/data.md](toy/data.md)\n\nNone.\n",
    ):
        assert part in text


CLAIMS = ("ahead", "better of the two", "are worth", "it is lower", "\\* |")


@pytest.mark.parametrize("clicks", [1, LEAST_CLICKS - 1])
def test_few_clicks_claim_nothing(tmp_path: Path, clicks: int) -> None:
    """However far apart the AUCs are."""
    few = {"clicks": clicks, "rows": 300, "simulated": True, "blanked": 0.55}
    truth = {"expected": 0.73, "best": 0.81, "share": 0.742}
    paths = [
        put_model(tmp_path, "full", "len150", 0.99, **few, **truth),
        put_model(tmp_path, "full", "boosting", 0.7, **few),
        put_model(tmp_path, "full", "constant", 0.5, **few),
    ]
    text = summary_of(paths, tmp_path)
    assert f"Size full has {clicks} clicks among 300 validation rows." in text
    assert "no model is called better than another" in text
    assert not [claim for claim in CLAIMS if claim in text]
    assert f"{clicks} clicks do not tell which is better." in text
    assert f"| full boosting | {clicks} | 0.7000 | too few clicks |" in text
    # The share rests on the true probabilities, not on the clicks.
    assert "It has 74.2% of what can be learned" in text


def test_many_clicks_that_do_not_tell_models_apart_say_so(tmp_path: Path) -> None:
    """The same scores for both, but for a little noise; histories and odds that change nothing."""
    unsure = {"value": 0.004, "low": -0.01, "high": 0.02}
    same = {"blanked": 0.7, "histories": unsure | {"chance": 0.6}, "gain": unsure}
    paths = [
        put_model(tmp_path, "full", "len150", 0.71, **same),
        put_model(tmp_path, "full", "boosting", 0.7099),
    ]
    text = summary_of(paths, tmp_path)
    assert "100 clicks do not tell it from the best model of boosting, boosting: the AUCs" in text
    assert "100 clicks do not tell whether they help: the difference is 0.0040 [-0.0100" in text
    assert "100 clicks do not tell which is better." in text
    assert not [claim for claim in CLAIMS if claim in text]


def test_a_blend_is_better_only_where_enough_clicks_say_so(tmp_path: Path) -> None:
    gain = {"value": 0.02, "low": 0.01, "high": 0.03}
    unsure = gain | {"low": -0.01}
    cases = ((100, gain, "it is higher"), (100, unsure, "do not tell"), (29, gain, "do not tell"))
    for i, (clicks, ahead, expected) in enumerate(cases):
        blend = {"ahead_of": "a", "ahead": {"score": ahead}}
        blend["training"] = {"settings": {"a": 0.5, "b": 0.5}}
        path = put_model(tmp_path / f"{i}", "full", "ensemble", 0.7, clicks=clicks, **blend)
        (line,) = (
            line
            for line in summary_of([path], tmp_path, weights=None).splitlines()
            if "competition score" in line and "together" in line.lower()
        )
        assert expected in line


def test_more_models_make_one_difference_say_less(tmp_path: Path) -> None:
    """The chance of one difference among several is corrected for their number."""
    pair = [put_model(tmp_path, "full", f"len{n}", auc) for n, auc in ((10, 0.71), (20, 0.7))]
    rows = pd.read_parquet(pair[0].with_name("valid_predictions.parquet"))
    noise = np.random.default_rng(3).normal(0, 0.6, 300).astype(np.float32)
    rows["logit"] += noise
    write_table(
        pa.Table.from_pandas(rows, preserve_index=False),
        pair[1].with_name("valid_predictions.parquet"),
        {"click_rate": "0.3"},
    )
    chances = []
    for others in (0, 5):
        more = [put_model(tmp_path, "full", f"len{100 + n}", 0.71) for n in range(others)]
        write_comparison(pair + more, tmp_path / "comparison.csv", tmp_path / "comparison.html")
        table = pd.read_csv(tmp_path / "comparison.csv").set_index("model")
        chances.append(table.loc["len20", "auc_behind_chance"])
    assert 0 < chances[0] < 0.5
    assert chances[0] < chances[1] <= 6 * chances[0] + 1e-9


def test_models_of_other_sizes_are_no_rivals_of_the_best(
    metrics: list[Path], tmp_path: Path
) -> None:
    """Other validation rows: 0.95 of toy says nothing of 0.71 of full."""
    text = summary_of([metrics[1], metrics[3]], tmp_path)
    assert "ahead" not in text
    assert "of size full, 100 clicks among them: **len150**" in text
    with pytest.raises(UserError, match="no model to compare"):
        write_comparison([], tmp_path / "comparison.csv", tmp_path / "comparison.html")


def test_the_distance_to_the_best_of_a_size_is_measured_on_the_same_resamples(
    metrics: list[Path], tmp_path: Path
) -> None:
    write_comparison(metrics, tmp_path / "comparison.csv", tmp_path / "comparison.html")
    table = pd.read_csv(tmp_path / "comparison.csv").set_index(["size", "model"])
    assert table.loc[("full", "len150"), "auc_behind"] == 0
    assert table.loc[("toy", "boosting"), "auc_behind"] == 0
    aucs = {}
    for path in metrics[:3]:
        rows = pd.read_parquet(path.with_name("valid_predictions.parquet"))
        aucs[path.parent.name] = roc_auc_score(rows["label"], rows["logit"])
    for name in ("constant", "boosting"):
        row = table.loc[("full", name)]
        assert row["auc_behind"] == pytest.approx(aucs["len150"] - aucs[name], abs=1e-5)
        # Both see the same noise, so their distance is known far better than either.
        assert row["auc_behind_low"] < row["auc_behind"] < row["auc_behind_high"]
        width = row["auc_behind_high"] - row["auc_behind_low"]
        assert width < (row["auc_high"] - row["auc_low"]) / 2 or name == "constant"


def test_models_measured_on_other_rows_are_not_compared(
    metrics: list[Path], tmp_path: Path
) -> None:
    predictions = metrics[2].with_name("valid_predictions.parquet")
    table = pq.read_table(predictions)
    rows = table.set_column(0, "row", pa.array(np.arange(1, 301)))
    write_table(rows, predictions)
    with pytest.raises(UserError, match="were measured on other rows"):
        write_comparison(metrics, tmp_path / "comparison.csv", tmp_path / "comparison.html")


def test_metrics_in_the_place_of_another_model_are_not_compared(
    metrics: list[Path], tmp_path: Path
) -> None:
    figures = json.loads(metrics[0].read_text())
    write_json(metrics[2], figures | {"full_name": "full/constant"})
    with pytest.raises(UserError, match=r"made for full/constant, .* place of full/boosting"):
        write_comparison(metrics, tmp_path / "comparison.csv", tmp_path / "comparison.html")


def test_another_file_is_no_comparison(tmp_path: Path) -> None:
    for text in ("", "a,b\n1,2\n", "a\n1,2\n1,2,3\n", "size,model,auc\nfull,len9,0.7\n"):
        (tmp_path / "comparison.csv").write_text(text)
        with pytest.raises(UserError, match="not a comparison of models"):
            read_comparison(tmp_path / "comparison.csv")


def page_of(first: Path, other: Path) -> str:
    page = other.with_name("page.md")
    write_two_models(first, other, page, resamples=20)
    return page.read_text()


def test_two_models_are_told_apart_where_their_rows_can_and_by_their_settings(
    tmp_path: Path,
) -> None:
    low, high = ({"settings": {"heads": n, "seed": 42}, "seconds": n} for n in (2, 4))
    one = put_model(tmp_path, "full", "len150", 0.6, training=low, simulated=True)
    two = put_model(tmp_path, "full", "len150-wide", 0.99, training=high, simulated=True)
    text = page_of(one, two)
    assert "**len150-wide is better than len150.** Its AUC is higher by 0." in text
    assert "SIMULATED" in text
    assert "| `heads` | 2 | 4 |" in text
    assert "seed` |" not in text
    assert "| seconds of training | 2 | 4 |" in text
    scores = [pq.read_table(path.with_name("valid_predictions.parquet")) for path in (one, two)]
    aucs = [roc_auc_score(table["label"], table["logit"]) for table in scores]
    assert f"higher by {aucs[1] - aucs[0]:.5f} [" in text
    # The other way round, the same.
    verdict = re.findall(r"^\*\*.*better than.*", text, re.M)
    assert verdict == re.findall(r"^\*\*.*better than.*", page_of(two, one), re.M)
    near = put_model(tmp_path, "full", "boosting", 0.601)
    assert "**These rows do not tell them apart.** The AUCs differ by 0.0" in page_of(one, near)


def test_of_two_models_with_few_clicks_none_is_better(tmp_path: Path) -> None:
    few = {"clicks": LEAST_CLICKS - 1, "rows": 300}
    paths = [put_model(tmp_path, "full", f"len{n}", n / 10, **few) for n in (5, 9)]
    text = page_of(*paths)
    assert "**Too few clicks to tell.** There are 29 clicks in 300 rows" in text
    assert "is better" not in text.replace("called better", "")
    rows = put_model(tmp_path, "full", "len7", 0.7)
    table = pq.read_table(rows.with_name("valid_predictions.parquet"))[10:]
    write_table(table, rows.with_name("valid_predictions.parquet"))
    with pytest.raises(UserError, match="were measured on other rows; delete both"):
        page_of(paths[0], rows)


@pytest.mark.workflow
def test_a_comparison_of_two_models_trains_these_alone(copied: Path) -> None:
    config = CONFIG | {"variants": {"hot": {"train": {"learning_rate": 0.01}}}}
    page = "results/toy/compare/len20_vs_len20-hot.md"
    code, output = snakemake(copied, page, config=config)
    assert code == 0, output
    assert "| `learning_rate` | 0.001 | 0.01 |" in (copied / page).read_text()
    steps = set(re.findall(r"^(\w+) +\d+$", output, re.M)) - {"total"}
    assert steps == {"train", "evaluate", "measure", "compare_two"}
    for pair, mistake in {
        "len20_vs_len20": "len20: is named twice",
        "len20_vs_len20-cold": "the config has no variant 'cold'",
    }.items():
        page = f"results/toy/compare/{pair}.md"
        assert mistake in refused(copied, "-n", page, config=config)
