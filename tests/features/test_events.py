"""What histories tell of time and of the target, beside loops over rows."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from support.raw_tables import raw_table, split_events, to_train_h5, with_roles
from tossctr.config.columns import Columns
from tossctr.datasets.store import H5Table
from tossctr.features.encoding import FeatureEncoder
from tossctr.features.feature_map import FeatureMap
from tossctr.features.fitting import fit_feature_map
from tossctr.models.feseq.network_file import merge_feature_maps

COLUMNS = with_roles(
    shared=("events",), context=("genre", "shop"), event_time="times", row_time="now"
)
ITEMS = 12


def shop_rows(rows: int, seed: int = 0, items: int = ITEMS) -> pa.Table:
    """Items of four genres, but for a rare mistake; shops that are no function of the item."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 15, rows)
    item = rng.integers(0, items, rows)
    genre = [f"g{i % 4}" for i in item]
    genre[rows // 2] = "g0"
    return raw_table(
        rows,
        item=[None if i == 3 else str(i) for i in item],
        genre=genre,
        shop=[f"s{i}" for i in rng.integers(0, 3, rows)],
        events=[",".join(map(str, rng.integers(0, items + 2, n))) for n in lengths],
        times=[",".join(map(str, np.sort(rng.integers(0, 10_000, n)))) for n in lengths],
        # Some events are later than their row.
        now=pa.array(rng.integers(9_500, 30_000, rows), pa.int64()),
    )


def fitted(folder: Path, table: pa.Table, columns: Columns = COLUMNS) -> tuple[Path, FeatureMap]:
    train, _ = to_train_h5(folder, table, columns=columns, valid_rows=range(2))
    return train, fit_feature_map(train, columns, 1)


def expected(row: dict[str, Any], ages: list[float]) -> dict[str, float]:
    """The columns of a row of `shop_rows`, from its texts."""
    events, times = (row[name].split(",") if row[name] else [] for name in ("events", "times"))
    age = [max(0, row["now"] - int(time)) for time in times]

    def log(index: int) -> float:
        return math.log1p(age[index]) if -len(age) <= index < len(age) else math.nan

    def newest(is_wanted: list[bool]) -> float:
        return log(max((i for i, wanted in enumerate(is_wanted) if wanted), default=len(age)))

    target = [row["item"] is not None and event == row["item"] for event in events]
    # No row has items 12 and 13, and no kind is known of them; nor of 3, which is missing.
    known = [event if event not in ("3", "12", "13") else None for event in events]
    kind = [event is not None and f"g{int(event) % 4}" == row["genre"] for event in known]
    within = {f"times: events within {a:.15g}": math.log1p(sum(x <= a for x in age)) for a in ages}
    return {
        "times: newest": log(-1),
        "times: tenth newest": log(-10),
        "times: oldest": log(0),
        **within,
        "times: newest item of events": newest(target),
        "times: newest genre of events": newest(kind),
        "item_attributes: genre of events": sum(kind) / max(1, len(events)),
    }


def test_the_columns_are_those_of_a_loop_over_rows(tmp_path: Path) -> None:
    table = shop_rows(400)
    path, fields = fitted(tmp_path, table)
    (kind,) = fields.item_attributes
    assert (kind.column, kind.sequence) == ("genre", "events")
    assert FeatureMap.from_dict(fields.to_dict()) == fields
    raw = table.to_pylist()
    with H5Table(path) as train:
        encoder = FeatureEncoder(fields, train)
        block = train.read(0, train.rows)
        values = encoder.all_statistics(block)[:, 3:-3]
    rows = [raw[i] for i in block.row]
    ages = [max(0, row["now"] - time) for row in rows for time in split_events(row["times"])]
    for age, share in zip(fields.event_ages, (0.01, 0.05, 0.2, 0.5), strict=True):
        assert np.mean(np.array(ages) <= age) == pytest.approx(share, abs=0.02)
    for row, of_row in zip(rows, values):
        actual = dict(zip(encoder.events.columns, of_row.tolist(), strict=True))
        assert actual == pytest.approx(expected(row, fields.event_ages), nan_ok=True, abs=1e-5)


def test_kinds_that_a_refit_does_not_find_are_those_of_the_first_training(tmp_path: Path) -> None:
    _, old = fitted(tmp_path, shop_rows(400, items=10))
    _, new = fitted(tmp_path / "new", shop_rows(400, seed=1, items=16))
    # Of all rows, which contradict the kinds.
    both = merge_feature_maps(old, replace(new, item_attributes=[]))
    (kind,) = FeatureMap.from_dict(both.to_dict()).item_attributes
    (target,) = both.targets
    (genre,) = (field for field in both.context if field.column == "genre")
    for word, code in zip(target.vocabulary, kind.of_code[3:], strict=True):
        known = word != "3" and int(word) < 10
        assert code == (3 + genre.vocabulary.index(f"g{int(word) % 4}") if known else 0)
