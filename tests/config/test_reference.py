"""The README's tables are those of the declared settings."""

import re
from pathlib import Path

from feseq.config.reference import key_rows, with_tables

README = (Path(__file__).parents[2] / "config/README.md").read_text()


def test_the_tables_are_in_step_with_the_declared_settings() -> None:
    assert with_tables(README) == README, "run `make reference` and commit what it changes"


def test_every_key_is_in_one_table_with_its_meaning() -> None:
    rows = list(key_rows())
    assert [path for path, _, _, meaning in rows if not meaning] == []
    assert [path for path, *_ in rows if README.count(f"\n| `{path}` |") != 1] == []


def test_every_key_that_the_page_names_exists() -> None:
    named = re.findall(r"`([a-z_]+(?:\.[a-z0-9_<>]+)+)`", README)
    known = {path for path, *_ in key_rows()} | {"config.yaml"}
    assert [key for key in named if key not in known] == []
