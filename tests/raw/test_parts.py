"""Parts of a raw table: where it is cut, its rows read by parts, and what a changed file reruns."""

import re
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from support import shop
from support.raw_tables import raw_table, write_raw
from tossctr.raw.parts import cut_files
from tossctr.raw.reading import RawTable


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        ([[2], [1], [1], [5, 4]], [[(0, 2), (1, 1), (2, 1)], [(3, 5)], [(3, 4)]]),
        ([[2], [9]], [[(0, 2)], [(1, 4)], [(1, 5)]]),
        ([[1, 11, 1]], [[(0, 4)], [(0, 4)], [(0, 5)]]),
        ([[], [3], [0], [1]], [[(1, 3), (3, 1)]]),
        ([[2], [2], [2]], [[(0, 2), (1, 2)], [(2, 2)]]),
    ],
)
def test_files_are_grouped_and_large_ones_cut_between_row_groups(
    files: list[list[int]], parts: list[list[tuple[int, int]]]
) -> None:
    pieces = [[(i, stop - start) for i, start, stop in part] for part in cut_files(files, 4)]
    assert pieces == parts


def test_a_file_a_little_longer_or_shorter_moves_no_bounds_behind_it() -> None:
    for rows in (100, 99, 101, 130):
        files = [[100]] * 7 + [[rows]] + [[100]] * 32
        assert [len(part) for part in cut_files(files, 1000)] == [10] * 4


def test_the_parts_give_all_rows_once_in_their_order_with_the_table_s_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = raw_table(60)
    table = table.append_column("code", table["country"].dictionary_encode())
    for i in range(6):
        folder = Path(f"in/shop={'7' if i < 3 else 'a'}")
        folder.mkdir(parents=True, exist_ok=True)
        write_raw(folder, table[10 * i : 10 * i + 10], f"part-{i}", row_group_size=5)
    # Also where a file outside of the others' folders comes first.
    Path("first.parquet").hardlink_to("in/shop=a/part-5.parquet")
    for written, rows in product(("in", ["first.parquet", "in/shop=7"]), (3, 25)):
        names = ["uid", "events", "code", *(["shop"] if written == "in" else [])]
        raw = RawTable(written)
        whole = pa.Table.from_batches([batch for _, batch in raw.stream(names, 7)])
        assert written != "in" or str(whole.schema.field("shop").type) == "string"
        listing = raw.listing(rows)
        assert sum(part.rows for part in listing.parts) == listing.rows == len(whole)
        batches = []
        for part in listing.parts:
            of_part = RawTable([piece.file for piece in part.pieces], part)
            assert (of_part.rows, of_part.first_row) == (part.rows, part.pieces[0].start)
            first_rows, read = zip(*of_part.stream(names, 3))
            lengths = [*map(len, read)]
            assert [*first_rows] == list(np.cumsum([of_part.first_row, *lengths])[:-1])
            assert 0 < min(lengths) <= max(lengths) <= 3
            batches += read
        assert pa.Table.from_batches(batches).equals(whole)


@pytest.mark.workflow
def test_a_replaced_file_runs_its_part_again_and_no_other(copied: Path) -> None:
    """In a folder of CSV files, which first gives the submission of the parquet file."""
    submission, config = "results/submission_toy.csv", shop.changed("table.raw.test", "in/new")
    before = pd.read_csv(copied / submission)
    table = pd.read_parquet(copied / "in/new.parquet")
    files = [copied / "in/new" / name for name in ("0.csv", "1.csv.gz")]
    files[0].parent.mkdir()
    for file, rows in zip(files, (table[:61], table[61:])):
        rows.to_csv(file, index=False)
    output = shop.snakemake(copied, submission, config=config)
    assert [output.count(f": {step} part 00") for step in ("Converting", "Predicting")] == [2, 2]
    # Rows in other parts may differ by rounding.
    pd.testing.assert_frame_equal(pd.read_csv(copied / submission), before, rtol=1e-6)
    table[62:].to_csv(files[1], index=False)
    # What follows from the list of the parts is planned when it has been made.
    shop.snakemake(copied, "data/h5/test/parts.json", config=config)
    output = shop.snakemake(copied, "-n", submission, config=config)
    assert sorted(re.findall(r"^Job \d+: (.*)", output, re.M)) == [
        "Converting part 001 of the test table to H5",
        "Describing the data of size toy",
        "Predicting part 001 of the test table, size toy, len20",
        "Writing the submission of size toy",
    ]
