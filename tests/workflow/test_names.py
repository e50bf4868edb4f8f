"""Names that Snakemake would read as its own."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from support.shop import changed, refused, write_inputs

pytestmark = pytest.mark.workflow


@pytest.mark.parametrize(
    ("key", "value", "target"),
    [
        # Snakemake would read in/toy.parquet.
        ("raw.train", "in/{size}.parquet", "data/h5/toy/feature_map.json"),
        ("raw.train", "in/*/*.parquet", "data/h5/toy/feature_map.json"),
        ("score", {"some": "in/{name}.parquet"}, "results/scores/toy/some.parquet"),
        ("train.start_from", "in/{model}", "results/toy/len20/model.safetensors"),
    ],
)
def test_paths_with_braces_are_refused(key: str, value: Any, target: str, tmp_path: Path) -> None:
    write_inputs(tmp_path)
    (tmp_path / "in/a}").mkdir()
    for copy in ("{size}", "toy", "{name}", "some", "a}/1"):
        shutil.copy(tmp_path / "in/log.parquet", tmp_path / f"in/{copy}.parquet")
    shutil.copy(tmp_path / "in/log.parquet", tmp_path / "in/{model}")
    output = refused(tmp_path, "-n", target, config=changed(key, value))
    assert "Snakemake takes" in output
