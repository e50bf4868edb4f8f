"""The plan of a target: what is stale, why, over how many rows and for how long."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shop
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from test_staleness import edit

from feseq.estimate import Estimate, benchmark_seconds, estimate, expected_rows
from feseq.params import as_setting
from feseq.plan import WAIT, WIDTH, Step, as_time, changes, files, merge_shards, shorten, table

CONFIG = yaml.safe_load((shop.REPOSITORY / "config/config.yaml").read_text())
RAW = {"train": 50_000, "test": 2_500_000}
TEXT = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=60)


def plan(
    folder: Path,
    *targets: str,
    config: dict[str, Any] = shop.CONFIG,
    repository: Path = shop.REPOSITORY,
) -> tuple[int, str, str]:
    """Call the script as its user does; its exit code, what it printed, and its messages."""
    (folder / "shop.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, str(repository / "scripts/plan.py"), *targets]
    command += ["--snakefile", str(repository / "Snakefile"), "--directory", str(folder)]
    command += ["--configfile", str(folder / "shop.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def rows_of(output: str) -> dict[tuple[str, str], dict[str, str]]:
    """The table by step and what it is of, read at the columns of its header."""
    head, *lines = output.split("\n\n")[0].splitlines()
    of, state, why = (head.index(name) for name in (" of ", " state ", " why"))
    found = {}
    for line in lines:
        cells = [*line[state:why].split(maxsplit=2), ""]
        found[line[:of].strip(), line[of:state].strip()] = {
            "state": cells[0],
            "rows": cells[1],
            "time": cells[2].strip(),
            "why": line[why:].strip(),
        }
    return found


def write_run(folder: Path, name: str, rows: int, seconds: float) -> tuple[Path, Path]:
    """A prediction and the benchmark file of its job."""
    output, benchmark = folder / f"{name}.parquet", folder / f"{name}.benchmark.tsv"
    pq.write_table(pa.table({"p": np.zeros(rows)}), output)
    benchmark.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\tNA\n")
    return output, benchmark


def test_after_a_full_run_all_is_fresh(finished: tuple[Path, str]) -> None:
    code, output, _ = plan(finished[0], *shop.TARGETS)
    assert code == 0
    lines = rows_of(output)
    assert {line["state"] for line in lines.values()} == {"fresh"}
    assert ("predict", "toy len20 3 shards") in lines
    assert output.endswith("nothing to do: all 27 steps are fresh\n")
    assert max(map(len, output.splitlines())) <= WIDTH


def test_a_changed_setting_shows_both_values_and_scaled_times(copied: Path) -> None:
    config = shop.changed("sizes.toy.train.epochs", 3)
    code, output, _ = plan(copied, *shop.TARGETS, config=config)
    assert code == 0
    lines = rows_of(output)
    stale = {step: line for step, line in lines.items() if line["state"] == "stale"}
    assert list(stale) == [
        ("train", "toy len20"),
        ("predict", "toy len20 3 shards"),
        ("submit", "toy"),
    ]
    train, predict, submit = stale.values()
    assert train["why"] == "train_config.epochs: 1 -> 3"
    assert train["rows"] == "270"
    # Of 90 rows to 270; the predictions are of as many rows as before.
    assert re.fullmatch(r"~\d+ s|~\d+ min", train["time"])
    assert re.fullmatch(r"\d+ s|<1 s|\d+ min", predict["time"])
    assert predict["why"] == "input: model.pt"
    assert submit["time"] == "-"
    assert re.search(
        r"^5 of 27 steps to do, about \d+ \w+ by earlier runs \(~ scaled by rows\)$", output, re.M
    )


def test_shards_wait_for_the_conversion(copied: Path) -> None:
    config = shop.changed("test.rows_per_shard", 25)
    _, output, _ = plan(copied, "results/submission_toy.csv", config=config)
    lines = rows_of(output)
    assert lines["convert_test", ""]["why"] == "rows_per_shard: 30 -> 25"
    assert lines["predict", "toy len20"]["why"] == WAIT
    assert lines["predict", "toy len20"]["rows"] == str(shop.TEST_ROWS)
    assert re.fullmatch(r"~?\d+ \w+", lines["predict", "toy len20"]["time"])
    assert lines["train", "toy len20"]["state"] == "fresh"


def test_changed_code_is_named(copied: Path, tmp_path: Path) -> None:
    shop.copy_code(tmp_path / "code")
    edit("scripts/feseq/model/refiner.py", "LeakyReLU()", "ReLU()")(copied, tmp_path / "code")
    _, output, _ = plan(copied, "results/submission_toy.csv", repository=tmp_path / "code")
    lines = rows_of(output)
    assert lines["train", "toy len20"]["why"] == "code: model/refiner.py"
    assert lines["convert_train", "toy"]["state"] == "fresh"


def test_from_nothing_all_is_stale_and_untimed(tmp_path: Path) -> None:
    shop.write_inputs(tmp_path)
    code, output, _ = plan(tmp_path, "results/submission_toy.csv")
    assert code == 0
    lines = rows_of(output)
    assert {line["state"] for line in lines.values()} == {"stale"}
    assert {line["time"] for line in lines.values()} == {"-"}
    assert lines["train", "toy len20"]["why"] == "missing: model.pt"
    assert lines["convert_train", "toy"]["rows"] == "100"
    assert "7 of 7 steps to do, none timed yet" in output
    assert sorted(path.name for path in tmp_path.iterdir()) == [".snakemake", "in", "shop.yaml"]


def test_a_mistake_in_the_config_gives_the_workflow_s_message(tmp_path: Path) -> None:
    shop.write_inputs(tmp_path)
    code, output, messages = plan(
        tmp_path, "results/submission_toy.csv", config=shop.changed("train.epoch", 3)
    )
    assert code == 1
    assert output == ""
    assert "train: unknown key 'epoch'; did you mean 'epochs'?" in messages
    assert "Traceback" not in messages


def test_missing_benchmark_files_make_nothing_stale(copied: Path) -> None:
    for path in copied.rglob("*.benchmark.tsv"):
        path.unlink()
    _, output, _ = plan(copied, *shop.TARGETS)
    assert output.endswith("nothing to do: all 27 steps are fresh\n")


def test_changes_tell_settings_from_code() -> None:
    old = [
        "feseq/model/refiner.py@d7e6b729",
        "feseq/simulation/statistics.json@11111111",
        "'train_config.epochs=4'",
        'label="a"',
        "raw_version=1",
    ]
    new = ["feseq/simulation/statistics.json@2a111111", "feseq/model/refiner.py@d1c3919c"]
    new += ["'train_config.epochs=5'", "raw_version=2", "seed=7"]
    assert changes(old, new) == [
        "label: a left out",
        "raw file replaced",
        "seed: now 7",
        "train_config.epochs: 4 -> 5",
        "code: model/refiner.py +1",
    ]
    assert changes(['columns.numeric=["age", "price"]'], ['columns.numeric=["price", "x"]']) == [
        "columns.numeric: -age +x"
    ]


@settings(deadline=None)
@given(TEXT, st.integers(), st.integers())
def test_a_setting_of_any_name_is_found_again(name: str, before: int, now: int) -> None:
    name = "a" + re.sub("[=@'\"\\\\]", "", name)
    (text,) = changes([repr(as_setting(name, before))], [repr(as_setting(name, now))])
    assert name == "raw_version" or text.startswith(f"{name}: ")


@settings(deadline=None)
@given(st.lists(TEXT.filter(bool), min_size=1, max_size=6), st.integers(10, 90))
def test_reasons_fit_into_their_width(reasons: list[str], width: int) -> None:
    text = shorten(reasons, width)
    assert len(text) <= width
    assert text[:1] == reasons[0][:1] or text.startswith("...")


def test_file_reasons_name_the_first_of_them() -> None:
    assert files("missing", ["b/model.pt"]) == ["missing: model.pt"]
    assert files("input", ["h5/valid.h5", "h5/train.h5"]) == ["input: train.h5 +1"]
    assert files("input", []) == []


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(TEXT, st.integers(0, 10**9), st.lists(TEXT.filter(bool), max_size=4)), max_size=8
    )
)
def test_the_table_is_aligned_and_within_100_columns(
    cells: list[tuple[str, int, list[str]]],
) -> None:
    steps = [Step("train", {"size": of[:12]}, tuple(why), rows) for of, rows, why in cells]
    lines = table(steps).split("\n\n")[0].split("\n")
    assert len(lines) == len(steps) + 1
    assert max(map(len, lines)) <= WIDTH
    ends = lines[0].index("rows") + 4
    assert [line[:ends].split()[-1] for line in lines[1:]] == [f"{rows:,}" for _, rows, _ in cells]


@settings(deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=5))
def test_shards_together_go_over_all_test_rows(shards: list[int]) -> None:
    of_shards = [
        expected_rows(CONFIG, RAW, "predict", {"size": "toy", "shard": str(k)}) or 0
        for k in range(3)
    ]
    assert of_shards == [1_000_000, 1_000_000, 500_000]
    steps = [Step("predict", {"size": "toy", "shard": str(k)}, rows=k) for k in shards]
    (merged,) = merge_shards(steps)
    assert (merged.rows, merged.jobs, merged.wildcards) == (
        sum(shards),
        len(shards),
        {"size": "toy"},
    )


def test_stale_and_fresh_shards_stay_apart() -> None:
    steps = [
        Step("predict", {"shard": str(k)}, ("missing: x",) if k == 1 else ()) for k in range(3)
    ]
    assert [step.jobs for step in merge_shards(steps)] == [2, 1]


def test_rows_follow_the_config_and_the_raw_files() -> None:
    def rows(rule: str, **wildcards: str) -> int | None:
        return expected_rows(CONFIG, RAW, rule, wildcards)

    assert rows("simulate", split="test") == RAW["test"]
    assert rows("convert_train", size="toy") == 1_000
    # More rows asked for than there are.
    assert rows("convert_train", size="medium") == 50_000
    assert rows("fit_feature_map", size="full") == 45_000
    assert rows("train", size="full", model="len150") == 45_000 * 5
    assert rows("evaluate", size="full", model="len150") == 5_000
    assert rows("unheard of", size="full") is None


def test_times_scale_with_rows_and_say_so(tmp_path: Path) -> None:
    run = write_run(tmp_path, "shard0", 1_000, 12.5)
    assert estimate("predict", 1_000, [run]) == Estimate(12.5)
    # Sampling rounds in each class.
    assert estimate("predict", 1_001, [run]) == Estimate(12.5)
    assert estimate("predict", 4_000, [run]) == Estimate(50, scaled=True)
    assert estimate("predict", None, [run]) == Estimate(12.5)
    other = write_run(tmp_path, "shard1", 500, 2.5)
    assert estimate("predict", 3_000, [run, other]) == Estimate(30, scaled=True)
    assert estimate("predict", 1_000, [(run[0], tmp_path / "none")]) == Estimate()
    # The output is gone: the time stands as it was.
    run[0].unlink()
    assert estimate("predict", 4_000, [run]) == Estimate(12.5)


def test_a_training_counts_its_epochs_and_all_its_pieces(tmp_path: Path) -> None:
    run = (tmp_path / "model.pt", write_run(tmp_path, "train", 1, 10)[1])
    metrics = {"train_rows": 100, "epochs": 2, "seconds": 40}
    (tmp_path / "training.json").write_text(json.dumps(metrics))
    assert estimate("train", 500, [run]) == Estimate(100, scaled=True)


@pytest.mark.parametrize("text", ["", "s\n", "s\nNA\n", "x\ty\n1\t2\n"])
def test_an_odd_benchmark_file_is_no_benchmark(text: str, tmp_path: Path) -> None:
    (tmp_path / "odd.tsv").write_text(text)
    assert benchmark_seconds(tmp_path / "odd.tsv") is None


def test_steps_without_a_time_are_counted(tmp_path: Path) -> None:
    run = write_run(tmp_path, "shard0", 10, 240)
    steps = [Step("predict", {}, ("forced",), 10, (run,)), Step("submit", {}, ("forced",), 10)]
    steps += [
        Step("train", {}, ("forced",), 10, ((tmp_path / "m", tmp_path / "t"),)),
        Step("sample"),
    ]
    assert table(steps).endswith(
        "3 of 4 steps to do, about 4 min by earlier runs (1 step never timed)"
    )


def test_times_read_well() -> None:
    assert [as_time(s) for s in (0.2, 12.4, 99.4, 240, 5_000, 9_000)] == [
        "<1 s", "12 s", "99 s", "4 min", "83 min", "2.5 h"
    ]  # fmt: skip
