"""Parquet files of the workflow: what is read is what was written."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from feseq.common.errors import UserError
from feseq.common.parquet import read_table, write_table


def test_a_missing_file_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"part000\.parquet"):
        read_table(tmp_path / "part000.parquet", ["logit"])


def test_a_changed_bit_of_a_footer_is_found_or_harmless(tmp_path: Path) -> None:
    path, table = tmp_path / "part000.parquet", pa.table({"logit": np.arange(300, dtype="f4")})
    write_table(table, path, {"click_rate": "0.25"})
    whole, expected = path.read_bytes(), read_table(path, ["logit"])
    assert expected.equals(table)
    refused, start = 0, len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for bit in range(8 * start, 8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            assert read_table(path, ["logit"]).equals(expected, check_metadata=True), bit
        except UserError:
            refused += 1
    assert refused > 100
