"""What a change makes stale: the table of rules/README.md, row by row, in dry runs."""

import copy
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support import REPOSITORY
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
    return lambda _, __, config: config.update(changed(path, value, config))


def edit(file: str, old: str, new: str) -> Change:
    """A file of the library, or of the repository."""

    def apply(folder: Path, repository: Path, config: dict[str, Any]) -> None:
        inside = repository / "scripts/tossctr" / file
        path = inside if inside.exists() else repository / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return apply


def delete(*files: str) -> Change:
    return lambda folder, *_: [(folder / file).unlink() for file in files]


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


def check_out_again(folder: Path, repository: Path, config: dict[str, Any]) -> None:
    shutil.rmtree(repository)
    copy_code(repository)
    for path in repository.rglob("*"):
        path.touch()


def give_sample(folder: Path, repository: Path, config: dict[str, Any]) -> None:
    ids = np.random.default_rng(0).permutation(TEST_ROWS)
    lines = ["visit,bought", *(f"v-{i:03},0" for i in ids)]
    (folder / "in/sample.csv").write_text("\n".join(lines) + "\n")
    config |= changed("table.raw.sample_submission", "in/sample.csv", config)


NEW, SUBMISSION = "in/new.parquet", "results/submission_toy.csv"
MODEL = "results/toy/len20/model.safetensors"
PART = "results/toy/len20/predictions/part001.parquet"
CONSTANT = "\ndef ", "\nX = 1\n\n\ndef "
# By row, which names the file: a text in it, and what takes its place.
EDITS = {
    "comment and docstring in models/feseq/network/model.py": ('"""', '# A remark.\n"""Well: '),
    "text of an error in datasets/store.py": ("fall, or lead", "fall or lead"),
    "code in models/feseq/network/refiner.py": ("LeakyReLU()", "ReLU()"),
    "code in datasets/conversion.py": ("8_192", "4_096"),
    "code in describe/checks.py": CONSTANT,
    "code in predict/submission.py": ('"none"', '"all_valid"'),
    "code in scripts/predict.py": ("\nif ", "\nX = 1\n\nif "),
    "code in evaluate/metric_table.py": CONSTANT,
}
# Rows that are named by the key that they change.
SETTINGS = {
    "model.dropout": 0.2,
    "model.scaling": "minmax",
    "train.gpus": 2,
    "sizes.toy.train.epochs": 2,
    "sizes.toy.min_count": 3,
    "sizes.toy.rows": 99,
    "submission.prior": "balanced",
    "submission.refit": True,
    "sampling.seed": 7,
    "parts.rows": 25,
}
RUNTIME = {"device": "cpu", "memory_gib": 3, "precision": "float32"}
# The decay of weights and the penalty of embeddings, 0.25 and 0 in the shop's config.
SWAPPED = CONFIG["train"] | {"weight_decay": 0, "embedding_l2": 0.25}
SHOP = CONFIG["table"]["columns"]["groups"]["shop"]
CHANGES: dict[str, Change] = {
    **{row: edit(row.split(" in ")[1], *change) for row, change in EDITS.items()},
    "caption of a plot": edit("rules/captions/calibration.rst", "a", "b"),
    "constant of a plot": edit("report/model_plots.py", *CONSTANT),
    "env file of training edited, conda not used": edit(
        "envs/train.yaml", "pyarrow", "scipy =1.17.1\n  - pyarrow"
    ),
    **{path: set_to(path, value) for path, value in SETTINGS.items()},
    "raw.source": set_to("table.raw.source", "files"),
    "score of the table: auc": set_to("table.score", "auc"),
    "nothing": lambda *_: None,
    "the same commit checked out again": check_out_again,
    "train file replaced, time kept": replace_raw("in/log.parquet", ROWS),
    "test file replaced, time kept": replace_raw(NEW, TEST_ROWS),
    "two labels of the train file swapped; size, end and time kept": swap_labels,
    "raw files touched": lambda folder, *_: [path.touch() for path in (folder / "in").iterdir()],
    "sample submission given": give_sample,
    "runtime.*": set_to("runtime", RUNTIME),
    "boosting.max_depth, where no boosting submits": set_to("boosting.max_depth", 3),
    "values of two train keys swapped": set_to("train", SWAPPED),
    "sizes.toy.max_len: one more": set_to("sizes.toy.max_len", [5, 7, 20]),
    "sizes.toy.submission_models: another": set_to("sizes.toy.submission_models", ["len5"]),
    "variants: one more": set_to("variants.wide", {"model": {"embedding_dim": 8}}),
    "columns: a numeric column less": set_to("table.columns.groups.shop.numeric", ["price"]),
    "columns: a group that is not in use": set_to("table.columns.groups.spare", {"numeric": ["x"]}),
    "columns: a group renamed": set_to(
        "table.columns", CONFIG["table"]["columns"] | {"use": ["all"], "groups": {"all": SHOP}}
    ),
    "predictions of a part deleted, submission there": delete(PART),
    "predictions of a part and submission deleted": delete(PART, SUBMISSION),
    "model.safetensors deleted, submission there": delete(MODEL),
    "model.safetensors and submission deleted": delete(MODEL, SUBMISSION),
    "train part deleted, model.safetensors there": delete("data/h5/toy/train/part000.h5"),
    "listing of the parts and metrics deleted": delete(
        "data/samples/full.json", "results/full/len20/metrics.json"
    ),
    "submission deleted": delete(SUBMISSION),
}


# How a dry run names each rule's jobs.
MESSAGES = {
    "Drawing the rows": "sample",
    r"Converting part \d+ of the train": "convert_train",
    "Listing the parts": "list_parts",
    r"Converting part \d+ of the test": "convert_test",
    "Fitting": "fit_feature_map",
    "Describing": "describe",
    "Training": "train",
    "Predicting the validation": "evaluate",
    "Measuring": "measure",
    "Drawing": "plot_model",
    "Predicting part": "predict",
    "Writing the submission": "submit",
}


def planned(output: str) -> dict[str, str]:
    """For each rule of a dry run, the sizes of its jobs, or `once`."""
    jobs: dict[str, set[str]] = {}
    for message in re.findall(r"^Job \d+: (.*)", output, re.M):
        rule = next(rule for start, rule in MESSAGES.items() if re.match(start, message))
        size = re.search(r"size (\w+)", message)
        jobs.setdefault(rule, set()).add(size[1] if size else "once")
    return {
        rule: "all" if len(sizes) == 3 else ", ".join(sorted(sizes)) for rule, sizes in jobs.items()
    }


def documented() -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of the table in rules/README.md: the change, and what it makes stale."""
    lines = (REPOSITORY / "rules/README.md").read_text().splitlines()
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"
    ]
    assert header[1:] == list(MESSAGES.values())
    for change, *cells in rows:
        yield change, {rule: cell for rule, cell in zip(header[1:], cells) if cell}


def test_the_table_lists_these_changes() -> None:
    assert sorted(change for change, _ in documented()) == sorted(CHANGES)


def plan(folder: Path, repository: Path, *changes: str) -> tuple[dict[str, str], str]:
    """What is planned after these changes, and what the dry run printed."""
    copy_code(repository)
    config = copy.deepcopy(CONFIG)
    for change in changes:
        CHANGES[change](folder, repository, config)
    output = snakemake(folder, "-n", *TARGETS, config=config, repository=repository)
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
    jobs, output = plan(copied, tmp_path / "code", *HARMLESS)
    assert jobs == {}, output


@pytest.mark.parametrize("step", ["training", "drawing of the rows", "feature map"])
def test_after_a_failed_step_metrics_are_not_called_up_to_date(copied: Path, step: str) -> None:
    """Snakemake removes what a failed step should have made again, and does not miss it."""
    key, value, made = {
        "training": ("model.dropout", 0.3, "results/full/len20/model.safetensors"),
        "drawing of the rows": ("sampling.seed", 8, "data/samples/full.json"),
        "feature map": ("sizes.full.min_count", 3, "data/h5/full/feature_map.json"),
    }[step]
    (copied / made).unlink()
    snakemake(copied, "--cleanup-metadata", made)
    config = changed(key, value, CONFIG)
    files = [f"results/full/len20/{name}" for name in ("metrics.json", "valid_predictions.parquet")]
    for file in (*files, "results/submission_full.csv"):
        output = snakemake(copied, "-n", file, config=config)
        # Snakemake does not see that metrics need other rows, so a warning does.
        if step == "drawing of the rows" and "submission" not in file:
            assert f"{made} is missing" in output
        else:
            assert planned(output)["train"] == "full"


def test_a_reason_names_the_columns_that_came_and_went_and_no_other(copied: Path) -> None:
    roles = {"numeric": ["price"], "context": ["age"]}
    config = copy.deepcopy(CONFIG)
    config["table"]["columns"]["groups"]["shop"] |= roles
    output = snakemake(copied, "-n", SUBMISSION, config=config)
    reasons = [line for line in output.splitlines() if "Params have changed" in line]
    assert len([line for line in reasons if "column age: context" in line]) >= 2
    assert not [line for line in reasons for name in ("price", "product") if name in line]
