"""What a change makes stale: the table of rules/README.md, row by row, in dry runs."""

import copy
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from support import REPOSITORY
from support.shop import (
    CONFIG,
    TARGETS,
    TEST_ROWS,
    changed,
    copy_code,
    forget,
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
    """A file of the library, or of the repository, in a copy of it."""

    def apply(folder: Path, repository: Path, config: dict[str, Any]) -> None:
        if not repository.exists():
            copy_code(repository)
        inside = repository / "scripts/tossctr" / file
        path = inside if inside.exists() else repository / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return apply


def delete(*files: str) -> Change:
    return lambda folder, *_: [(folder / file).unlink() for file in files]


def replace_test(folder: Path, repository: Path, config: dict[str, Any]) -> None:
    table = shop_table(TEST_ROWS, seed=9)
    table.insert(2, "visit", [f"v-{i:03}" for i in range(TEST_ROWS)])
    table.to_parquet(folder / NEW, row_group_size=40)
    # As a copy that keeps an old time would.
    os.utime(folder / NEW, (1_500_000_000, 1_500_000_000))


def swap_labels(folder: Path, repository: Path, config: dict[str, Any]) -> None:
    path = folder / "in/log.parquet"
    before, end = path.stat(), path.read_bytes()[-(1 << 16) :]
    table = pd.read_parquet(path)
    table.loc[[0, 1], "bought"] = table.loc[[1, 0], "bought"].to_numpy()
    write_log(path, table.drop(columns="note"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert path.read_bytes()[-(1 << 16) :] == end


NEW = "in/new.parquet"
CONSTANT = "\ndef ", "\nX = 1\n\n\ndef "
# By row, which names the file: a text in it, and what takes its place.
EDITS = {
    "comment and docstring in models/feseq/network/model.py": ('"""', '# A remark.\n"""Well: '),
    "text of an error in datasets/store.py": ("decrease, or exceed the", "decrease or exceed the"),
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
    "train.gpus": 2,
    "sizes.toy.train.epochs": 2,
    "sizes.full.min_count": 3,
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
# Those that make nothing stale are planned together, in this order: later ones keep the earlier.
CHANGES: dict[str, Change] = {
    "the same commit checked out again": lambda _, repository, __: copy_code(repository),
    **{row: edit(row.split(" in ")[1], *change) for row, change in EDITS.items()},
    "caption of a plot": edit("rules/captions/calibration.rst", "a", "b"),
    "code in report/model_plots.py": edit("report/model_plots.py", *CONSTANT),
    "envs/train.yaml edited, conda not used": edit(
        "envs/train.yaml", "pyarrow", "scipy =1.17.1\n  - pyarrow"
    ),
    **{path: set_to(path, value) for path, value in SETTINGS.items()},
    "raw.source: files instead of auto, the same files": set_to("table.raw.source", "files"),
    "nothing": lambda *_: None,
    "test file replaced, modification time kept": replace_test,
    "two labels of the train file swapped; same file size, time and last bytes": swap_labels,
    "raw files touched": lambda folder, *_: [path.touch() for path in (folder / "in").iterdir()],
    "runtime.*": set_to("runtime", RUNTIME),
    "boosting.max_depth, if boosting is not submitted": set_to("boosting.max_depth", 3),
    "values of two `train` settings swapped": set_to("train", SWAPPED),
    "sizes.full.max_len: a length added, its model not requested": set_to(
        "sizes.full.max_len", [7, 20]
    ),
    "sizes.full.submission_models: another model": set_to(
        "sizes.full.submission_models", ["boosting"]
    ),
    "variants: a variant added": set_to("variants.wide", {"model": {"embedding_dim": 8}}),
    "columns: a numeric column removed": set_to("table.columns.groups.shop.numeric", ["price"]),
    "columns.groups: a group renamed": set_to(
        "table.columns", CONFIG["table"]["columns"] | {"use": ["all"], "groups": {"all": SHOP}}
    ),
    "columns.groups: a group added, not in columns.use": set_to(
        "table.columns.groups.spare", {"numeric": ["x"]}
    ),
    "full: predictions of one part deleted, submission kept": delete(
        "results/full/len20/predictions/part000.parquet"
    ),
    "toy: submission and predictions of one part deleted": delete(
        "results/toy/len20/predictions/part000.parquet", "results/submission_toy.csv"
    ),
    "toy: model.safetensors deleted, submission kept": delete(
        "results/toy/len20/model.safetensors"
    ),
    "full: part of train H5 files deleted, model.safetensors kept": delete(
        "data/h5/full/train/part000.h5"
    ),
    "full: metrics.json and the list of drawn rows deleted": delete(
        "data/samples/full.json", "results/full/len20/metrics.json"
    ),
}


# How a dry run names each rule's jobs.
MESSAGES = {
    "Drawing the rows": "sample",
    r"Converting part \d+ of the train": "convert_train",
    "Listing the parts": "list_parts",
    r"Converting part \d+ of the test": "convert_test",
    "Fitting": "fit_feature_map",
    "Describing": "describe",
    "(Tr|Retr)aining": "train",
    "Predicting the validation": "predict_valid",
    "Measuring": "measure",
    "Plotting": "plot_model",
    "Predicting part": "predict",
    "Writing the submission": "submit",
}
# A rule, and the size of its job or `once`.
Jobs = set[tuple[str, str]]


def planned(output: str) -> Jobs:
    """The jobs of a dry run."""
    jobs: Jobs = set()
    for message in re.findall(r"^Job \d+: (.*)", output, re.M):
        rule = next(rule for start, rule in MESSAGES.items() if re.match(start, message))
        size = re.search(r"size (\w+)", message)
        jobs.add((rule, size[1] if size else "once"))
    return jobs


def documented() -> Iterator[tuple[str, Jobs]]:
    """Rows of the table in rules/README.md: the change, and what it makes stale."""
    lines = (REPOSITORY / "rules/README.md").read_text().splitlines()
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"
    ]
    assert header[1:] == list(MESSAGES.values())
    for change, *cells in rows:
        sizes = [("toy full" if cell == "all" else cell).split() for cell in cells]
        yield change, {(rule, size) for rule, of_rule in zip(header[1:], sizes) for size in of_rule}


def dry_runs() -> list[tuple[list[str], Jobs]]:
    """Changes that are planned together, none of which makes stale what another does."""
    groups: list[tuple[list[str], Jobs]] = [([], set())]
    for change, stale in documented():
        for changes, together in groups[bool(stale) :]:
            if not stale & together:
                changes.append(change)
                together |= stale
                break
        else:
            groups.append(([change], stale))
    return groups


def test_the_table_lists_these_changes() -> None:
    assert sorted(change for change, _ in documented()) == sorted(CHANGES)


@pytest.mark.parametrize(("changes", "stale"), dry_runs())
def test_changes_make_stale_what_the_table_says(
    changes: list[str], stale: Jobs, copied: Path, tmp_path: Path
) -> None:
    repository, config = tmp_path / "code", copy.deepcopy(CONFIG)
    for change in sorted(changes, key=list(CHANGES).index):
        CHANGES[change](copied, repository, config)
    if not repository.exists():
        repository = REPOSITORY
    output = snakemake(copied, "-n", *TARGETS, config=config, repository=repository)
    assert planned(output) == stale
    if "columns: a numeric column removed" in changes:
        # A reason names the column that went, and no other.
        reasons = "".join(re.findall(r"Params have changed.*", output))
        assert "column age: numeric" in reasons
        assert "price" not in reasons


@pytest.mark.parametrize("step", ["training", "drawing of the rows", "feature map"])
def test_after_a_failed_step_metrics_are_not_called_up_to_date(copied: Path, step: str) -> None:
    """Snakemake removes what a failed step should have made again, and does not miss it."""
    key, value, made = {
        "training": ("model.dropout", 0.3, "results/full/len20/model.safetensors"),
        "drawing of the rows": ("sampling.seed", 8, "data/samples/full.json"),
        "feature map": ("sizes.full.min_count", 3, "data/h5/full/feature_map.json"),
    }[step]
    (copied / made).unlink()
    forget(copied, made)
    config = changed(key, value)
    for file in ("results/full/len20/metrics.json", "results/submission_full.csv"):
        output = snakemake(copied, "-n", file, config=config)
        # Snakemake does not see that metrics need other rows, so a warning does.
        if step == "drawing of the rows" and "submission" not in file:
            assert f"{made} is missing" in output
        else:
            assert ("train", "full") in planned(output)
