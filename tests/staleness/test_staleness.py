"""What a change makes stale: the table of rules/README.md, row by row, in dry runs."""

import copy
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.plans import documented, planned
from support.shop import (
    CONFIG,
    ROWS,
    TARGETS,
    TEST_ROWS,
    changed,
    copy_code,
    shop_table,
    snakemake,
    write_log,
)

pytestmark = pytest.mark.workflow


# Changes the shop's folder, the code, or the config that is handed in.
Change = Callable[[Path, Path, dict[str, Any]], object]


def set_to(path: str, value: Any) -> Change:
    return lambda folder, repository, config: config.update(changed(path, value, config))


def edit(file: str, old: str, new: str) -> Change:
    def apply(folder: Path, repository: Path, config: dict[str, Any]) -> None:
        text = (repository / file).read_text()
        assert text.count(old) >= 1
        (repository / file).write_text(text.replace(old, new, 1))

    return apply


def code(module: str, old: str, new: str) -> Change:
    return edit(f"scripts/feseq/{module}", old, new)


def comment(file: str) -> Change:
    def apply(folder: Path, repository: Path, config: dict[str, Any]) -> None:
        text = (repository / file).read_text()
        (repository / file).write_text(f"{text}\n# A remark.\n".replace('"""', '"""Well: ', 1))

    return apply


def delete(*files: str) -> Change:
    return lambda folder, repository, config: [(folder / file).unlink() for file in files]


def replace_raw(file: str, rows: int) -> Change:
    def apply(folder: Path, repository: Path, config: dict[str, Any]) -> None:
        table = shop_table(rows, seed=9)
        table.insert(2, "visit", [f"v-{i:03}" for i in range(rows)])
        table.to_parquet(folder / file, row_group_size=40)
        # As a copy that keeps an old time would.
        os.utime(folder / file, (1_500_000_000, 1_500_000_000))

    return apply


def swap_labels(folder: Path, repository: Path, config: dict[str, Any]) -> None:
    path = folder / "in/log.parquet"
    before, end = path.stat(), path.read_bytes()[-(1 << 16) :]
    table = pd.read_parquet(path)
    table.loc[[0, 1], "bought"] = table.loc[[1, 0], "bought"].to_numpy()
    write_log(path, table.drop(columns="note"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert path.read_bytes()[-(1 << 16) :] == end


def touch_code(folder: Path, repository: Path, config: dict[str, Any]) -> None:
    for path in repository.rglob("*"):
        path.touch()


def check_out_again(folder: Path, repository: Path, config: dict[str, Any]) -> None:
    shutil.rmtree(repository)
    copy_code(repository)
    touch_code(folder, repository, config)


def touch_raw(folder: Path, repository: Path, config: dict[str, Any]) -> None:
    for path in (folder / "in").iterdir():
        path.touch()


def give_sample(folder: Path, repository: Path, config: dict[str, Any]) -> None:
    ids = np.random.default_rng(0).permutation(TEST_ROWS)
    lines = ["visit,bought", *(f"v-{i:03},0" for i in ids)]
    (folder / "in/sample.csv").write_text("\n".join(lines) + "\n")
    config |= changed("raw.sample_submission", "in/sample.csv", config)


def swap_values(folder: Path, repository: Path, config: dict[str, Any]) -> None:
    """The decay of weights and the penalty of embeddings, 0.25 and 0 by then."""
    decay, weight = (CONFIG["train"][key] for key in ("weight_decay", "embedding_l2"))
    config["train"] |= {"weight_decay": weight, "embedding_l2": decay}


RUNTIME = {"device": "cpu", "verbosity": 0, "memory_gib": 3, "precision": "float32"}
NEW, SUBMISSION, MODEL = (
    "in/new.parquet",
    "results/submission_toy.csv",
    "results/toy/len20/model.safetensors",
)
PART = "results/toy/len20/predictions/part001.parquet"
CHANGES: dict[str, Change] = {
    "nothing": lambda folder, repository, config: None,
    "comment and docstring in model/feseq.py": comment("scripts/feseq/model/feseq.py"),
    "text of an error in dataset/store.py": code("dataset/store.py", "no such file;", "missing;"),
    "log line in train/run.py": code("train/run.py", "on SIMULATED data", "on made-up data"),
    "caption of a plot": edit("rules/captions/roc_pr.rst", "a", "b"),
    "constant of a plot": code("report/plots/one_model.py", "def ", "WIDTH = 9\n\n\ndef "),
    "code in model/refiner.py": code("model/refiner.py", "LeakyReLU()", "ReLU()"),
    "code in train/run.py": edit(
        "scripts/feseq/train/run.py", "_ODD_SHARE = 0.9", "_ODD_SHARE = 1"
    ),
    "code in dataset/conversion.py": code("dataset/conversion.py", "8_192", "4_096"),
    "code in dataset/sampling.py": edit(
        "scripts/feseq/dataset/sampling.py", "arange(total)", "arange(1 * total)"
    ),
    "code in describe/checks.py": code(
        "describe/checks.py", "LEAST_CLICKS = 100", "LEAST_CLICKS = 99"
    ),
    "code in predict/submission.py": edit(
        "scripts/feseq/predict/submission.py", '"none"', '"all_valid"'
    ),
    "code in scripts/predict.py": edit("scripts/predict.py", "files = (", "files = None or ("),
    "code in evaluate/metrics.py": edit(
        "scripts/feseq/evaluate/metrics.py", "\ndef ", "\nX = 1\n\n\ndef "
    ),
    "every file of the code touched": touch_code,
    "the same commit checked out again": check_out_again,
    "env file of training edited, conda not used": edit(
        "envs/train.yaml", "filelock", "scipy =1.17.1\n  - filelock"
    ),
    "train file replaced, time kept": replace_raw("in/log.parquet", ROWS),
    "test file replaced, time kept": replace_raw(NEW, TEST_ROWS),
    "two labels of the train file swapped; size, end and time kept": swap_labels,
    "raw files touched": touch_raw,
    "sample submission given": give_sample,
    "runtime.*": set_to("runtime", RUNTIME | {"tensorboard": True}),
    "raw.source": set_to("raw.source", "auto"),
    "model.dropout": set_to("model.dropout", 0.2),
    "model.scaling": set_to("model.scaling", "quantile"),
    "boosting.max_depth, where no boosting submits": set_to("boosting.max_depth", 3),
    "train.learning_rate": set_to("train.learning_rate", 0.01),
    "train.gpus": set_to("train.gpus", 2),
    "train.nodes": set_to("train.nodes", 2),
    "values of two train keys swapped": swap_values,
    "sizes.toy.train.epochs": set_to("sizes.toy.train.epochs", 2),
    "sizes.toy.min_count": set_to("sizes.toy.min_count", 3),
    "sizes.toy.rows": set_to("sizes.toy.rows", 99),
    "sizes.toy.max_len: one more": set_to("sizes.toy.max_len", [5, 7, 20]),
    "sizes.toy.submission_models: another": set_to("sizes.toy.submission_models", ["len5"]),
    "submission.prior": set_to("submission.prior", "balanced"),
    "submission.refit": set_to("submission.refit", True),
    "variants: one more": set_to("variants.wide", {"model": {"embedding_dim": 8}}),
    "sampling.seed": set_to("sampling.seed", 7),
    "sampling.split": set_to("sampling.split", {"time": "day_of_week", "last": 1}),
    "columns: a numeric column less": set_to("columns.groups.shop.numeric", ["price"]),
    "columns: a numeric column is context, too": set_to("columns.groups.shop.context", ["age"]),
    "columns: a group that is not in use": set_to("columns.groups.spare", {"numeric": ["x"]}),
    "parts.rows": set_to("parts.rows", 25),
    "predictions of a part deleted, submission there": delete(PART),
    "predictions of a part and submission deleted": delete(PART, SUBMISSION),
    "model.safetensors deleted, submission there": delete(MODEL),
    "model.safetensors and submission deleted": delete(MODEL, SUBMISSION),
    "train part deleted, model.safetensors there": delete("data/h5/toy/train/part000.h5"),
    "submission deleted": delete(SUBMISSION),
}


def test_the_table_lists_these_changes() -> None:
    assert [change for change, _ in documented()] == list(CHANGES)


def plan(folder: Path, repository: Path, *changes: str) -> tuple[dict[str, str], str]:
    """What is planned after these changes, and what the dry run printed."""
    copy_code(repository)
    config = copy.deepcopy(CONFIG)
    for change in changes:
        CHANGES[change](folder, repository, config)
    code, output = snakemake(folder, "-n", *TARGETS, config=config, repository=repository)
    assert code == 0, output
    return planned(output), output


# Those that make nothing stale, and hide no other by what they take away or restore.
HARMLESS = [
    change
    for change, stale in documented()
    if not stale and "deleted" not in change and CHANGES[change] is not check_out_again
]


@pytest.mark.parametrize(
    ("change", "stale"), [row for row in documented() if row[0] not in HARMLESS]
)
def test_a_change_makes_stale_what_the_table_says(
    change: str, stale: dict[str, str], copied: Path, tmp_path: Path
) -> None:
    assert plan(copied, tmp_path / "code", change)[0] == stale


def test_changes_of_no_result_make_nothing_stale_all_together(copied: Path, tmp_path: Path) -> None:
    found, output = plan(copied, tmp_path / "code", *HARMLESS)
    assert found == {}, output
