"""Tiny raw tables of a made-up shop, and the way from them to H5.

The columns bear other names than Toss's, so that no Toss name can hide in the library.
"""

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tossctr.common.arrays import Ragged
from tossctr.config.columns import Columns
from tossctr.datasets.categories import codes_of
from tossctr.datasets.conversion import convert_test, convert_train
from tossctr.datasets.draw import (
    Selection,
    random_split_quotas,
    read_labels,
    sample,
    select_rows,
    write_selections,
)
from tossctr.datasets.split import Sampling
from tossctr.datasets.table import Table
from tossctr.raw.parts import read_part_list
from tossctr.raw.reading import RawTable
from tossctr.raw.submission_ids import list_parts

COLUMNS = Columns(
    label="y",
    id="uid",
    profile=("country",),
    numeric=("price", "age"),
    sequences=("events",),
    targets=("item",),
)


def with_roles(**roles: Any) -> Columns:
    """`COLUMNS` with some roles replaced."""
    return dataclasses.replace(COLUMNS, **roles)


def raw_table(rows: int = 120, seed: int = 0, *, longest: int = 12, **given: Any) -> pa.Table:
    """A raw table with both label and ID; `given` columns replace or join the random ones."""
    random = np.random.default_rng(seed)

    def draw(*choices: Any) -> list[Any]:
        return [choices[i] for i in random.integers(0, len(choices), rows)]

    events = [
        ",".join(map(str, random.integers(0, 400, random.integers(0, longest + 1))))
        for _ in range(rows)
    ]
    price = random.normal(size=rows).astype(np.float32)
    price[random.random(rows) < 0.1] = np.nan
    price[random.random(rows) < 0.05] = np.inf
    price[random.random(rows) < 0.05] = -np.inf
    columns: dict[str, Any] = {
        "uid": [f"U{i:05d}" for i in random.permutation(rows)],
        "unused": random.normal(size=rows),
        "age": pa.array(draw(*range(18, 80), None), pa.int16()),
        "events": [None if random.random() < 0.1 else text for text in events],
        "country": draw("KR", "US", "日本", "", None),
        "price": pa.array(price, mask=random.random(rows) < 0.1),
        "item": draw(*(f"item {i}" for i in range(9)), None),
        "y": (random.permutation(rows) < max(4, rows // 4)).astype(np.int8),
    }
    return pa.table(columns | given)


def with_columns(table: pa.Table, **given: Any) -> pa.Table:
    """The table with these columns in place of its own."""
    for name, values in given.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    return table


def write_raw(folder: Path, table: pa.Table, name: str = "raw", **options: Any) -> Path:
    """Write `table` as parquet into `folder`."""
    path = folder / f"{name}.parquet"
    pq.write_table(table, path, **options)
    return path


def read(table: RawTable, batch_rows: int = 7) -> pa.Table:
    """All rows and columns of an opened raw table."""
    batches = [batch for _, batch in table.stream(table.schema_arrow.names, batch_rows)]
    return pa.Table.from_batches(batches)


def selected(labels: np.ndarray, rows: int | None = None, **sampling: Any) -> Selection:
    """`rows` rows (None: all) of a table in one part with these labels."""
    settings = Sampling(**{"seed": 1} | sampling)
    quota_22 = random_split_quotas(
        np.bincount(labels, minlength=2)[None], rows or len(labels), settings
    )[0]
    return select_rows(labels, quota_22, settings.seed)


def to_train_h5(
    folder: Path,
    table: pa.Table,
    *,
    columns: Columns = COLUMNS,
    valid_rows: Sequence[int] | None = None,
    period: np.ndarray | None = None,
    fold: np.ndarray | None = None,
    size: str = "",
    **options: Any,
) -> tuple[Path, Path]:
    """All rows of `table` to train.h5 and valid.h5, which has the `valid_rows`.

    `period` and `fold` [rows] of the table, else 0.
    """
    folder.mkdir(exist_ok=True)
    raw = write_raw(folder, table, "train", **options)
    selection = folder / "selection.parquet"
    if valid_rows is None:
        chosen = selected(read_labels(RawTable(raw), columns.label), valid_share=0.25, seed=3)
    else:
        is_valid = np.isin(np.arange(len(table)), valid_rows)
        position = np.where(is_valid, np.cumsum(is_valid), np.cumsum(~is_valid)) - 1
        zeros = np.zeros(len(table), np.uint8)
        split = is_valid.astype(np.int8)
        chosen = Selection(np.arange(len(table)), split, position, zeros, zeros)
    for name, values in {"period": period, "fold": fold}.items():
        if values is not None:
            chosen = dataclasses.replace(chosen, **{name: values[chosen.row].astype(np.uint8)})
    write_selections([chosen], selection)
    train, valid = folder / "train.h5", folder / "valid.h5"
    convert_train(raw, selection, columns, train, valid, size=size)
    return train, valid


def to_train_parts(
    folder: Path, table: pa.Table, part_rows: int, *, row_group_size: int, **sampling: Any
) -> tuple[list[Path], list[Path]]:
    """All rows of `table` to train and valid files of parts of about `part_rows`."""
    raw = write_raw(folder, table, "train", row_group_size=row_group_size)
    files: dict[str, Any] = {"selection": folder / "s.parquet", "parts": folder / "parts.json"}
    settings = Sampling(**{"seed": 3, "valid_share": 0.25} | sampling)
    sample(raw, COLUMNS.label, None, settings, part_rows=part_rows, **files)
    numbers = range(len(read_part_list(files["parts"]).parts))
    train, valid = (
        [folder / name / f"part{number:03}.h5" for number in numbers] for name in ("train", "valid")
    )
    for part, h5 in enumerate(zip(train, valid)):
        convert_train(raw, files["selection"], COLUMNS, *h5, parts=files["parts"], part=part)
    return train, valid


def to_test_h5(
    folder: Path, table: pa.Table, *, columns: Columns = COLUMNS, **options: Any
) -> Path:
    """`table` to test.h5, as its only part."""
    folder.mkdir(exist_ok=True)
    raw = write_raw(folder, table, "test", **options)
    h5 = folder / "test.h5"
    list_parts(raw, columns, folder / "parts.json", rows=len(table) or 1)
    convert_test(raw, columns, h5, part=read_part_list(folder / "parts.json").parts[0])
    return h5


def ragged(lists: list[list[int]], dtype: Any = np.uint64) -> Ragged:
    """Plain lists as ragged rows."""
    values = [value for values in lists for value in values]
    return Ragged(np.array(values, dtype), np.cumsum([0, *map(len, lists)], dtype=np.int64))


def as_lists(rows: Ragged) -> list[list[int]]:
    """Ragged rows as plain lists."""
    return [rows.values[a:b].tolist() for a, b in pairwise(rows.offsets.tolist())]


def split_events(text: str | None) -> list[int]:
    """The plain way to read a sequence."""
    return [int(token) for token in text.split(",")] if text else []


def raw_columns(table: pa.Table) -> dict[str, list[Any]]:
    """What H5 must give back of a raw table: words, lists of integers, numbers as their texts."""
    columns = table.select(COLUMNS.features).to_pydict()
    columns |= {name: [*map(split_events, columns[name])] for name in COLUMNS.sequences}
    return columns | {name: as_float32(columns[name]) for name in COLUMNS.numeric}


def as_float32(numbers: Sequence[Any]) -> list[str]:
    return [str(number) for number in np.array(numbers, np.float32)]


def h5_columns(table: Table) -> dict[str, list[Any]]:
    """The same of an opened table."""
    block = table.read(0, table.rows)
    columns: dict[str, list[Any]] = {n: as_lists(each) for n, each in block.sequences.items()}
    for name, codes in zip(table.categorical_columns, block.categorical.T):
        words = table.vocabulary(name)
        word_of = {0: None} | dict(zip(codes_of(words).tolist(), words))
        columns[name] = [word_of[code] for code in codes.tolist()]
    for name, numbers in zip(table.numeric_columns, block.numeric.T):
        columns[name] = as_float32(numbers)
    return columns


def content(path: Path) -> dict[str, Any]:
    """All datasets with their types, and all attributes but the source."""
    with h5py.File(path) as file:
        values = {name: value for name, value in file.attrs.items() if name != "source"}

        def keep(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                values[name] = (item.dtype.str, str(item[()].tolist()))

        file.visititems(keep)
        return values
