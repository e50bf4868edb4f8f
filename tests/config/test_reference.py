"""The schema and the README's tables are those of the declared settings."""

import re
from pathlib import Path

from feseq.config.reference import key_rows, schema_text, with_tables

CONFIG = Path(__file__).parents[2] / "config"
README = (CONFIG / "README.md").read_text()


def test_schema_and_tables_are_in_step_with_the_declared_settings() -> None:
    advice = "run `make reference` and commit what it changes"
    assert (CONFIG / "config.schema.yaml").read_text() == schema_text(), advice
    assert with_tables(README) == README, advice


def test_every_key_is_in_one_table_with_its_meaning() -> None:
    rows = list(key_rows())
    assert [path for path, _, _, meaning in rows if not meaning] == []
    assert [path for path, *_ in rows if README.count(f"\n| `{path}` |") != 1] == []


def test_every_key_that_the_page_names_exists() -> None:
    named = re.findall(r"`([a-z_]+(?:\.[a-z_<>]+)+)`", README)
    known = {path for path, *_ in key_rows()} | {"config.yaml", "config.schema.yaml"}
    assert [key for key in named if key not in known] == []
