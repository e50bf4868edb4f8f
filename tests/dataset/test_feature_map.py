"""Feature maps that do not belong to a table, are damaged, or know little of what they meet."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from feseq.common.errors import UserError
from feseq.dataset.encoding import FeatureEncoder
from feseq.dataset.feature_map import FeatureMap, check_one_draw
from feseq.dataset.fitting import fit_feature_map
from feseq.dataset.store import H5Table
from support.raw_tables import COLUMNS, raw_table, to_test_h5, to_train_h5, with_roles


def fitted(folder: Path, table: pa.Table, **options: Any) -> FeatureMap:
    """The feature map of all rows but the last two, which are validation."""
    valid_rows = range(len(table) - 2, len(table))
    train, _ = to_train_h5(folder, table, valid_rows=valid_rows, **options)
    return fit_feature_map(train, options.get("columns", COLUMNS), 1)


@pytest.mark.parametrize(("item", "warned"), [("012", True), ("12", False), ("a", False)])
def test_a_target_none_of_whose_items_is_an_event_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, item: str, warned: bool
) -> None:
    table = raw_table(40, item=[item] * 40, events=["12" if item != "a" else "a,b"] * 40)
    with caplog.at_level("WARNING", logger="feseq.dataset.feature_map"):
        fitted(tmp_path, table, columns=with_roles(shared=("events",)))
    assert bool(caplog.records) == warned


@pytest.mark.parametrize(
    ("role", "lacking"),
    [
        ({"profile": ()}, "country"),
        ({"numeric": ("price",)}, "age"),
        ({"sequences": ("visits",)}, "events"),
    ],
)
def test_a_table_that_lacks_a_column_is_refused(
    tmp_path: Path, role: dict[str, Any], lacking: str
) -> None:
    table = raw_table(30, visits=["1"] * 30)
    fields = fitted(tmp_path, table)
    h5 = to_test_h5(tmp_path, table, columns=with_roles(**role))
    with H5Table(h5) as test, pytest.raises(UserError, match=f"'{lacking}'"):
        FeatureEncoder(fields, test)
    with pytest.raises(UserError, match=f"'{lacking}'"):
        fit_feature_map(h5, COLUMNS, 1)


def test_files_of_another_size_are_refused(tmp_path: Path) -> None:
    paths = to_train_h5(tmp_path, raw_table(), size="toy")
    feature_map = fit_feature_map(paths[0], COLUMNS, 1)
    with H5Table(paths[0]) as train, H5Table(paths[1]) as valid:
        for known in ("", "toy/len5"):
            check_one_draw(feature_map, train, valid, known)
        with pytest.raises(UserError, match=r"train\.h5.* toy.* full"):
            check_one_draw(feature_map, train, valid, "full/len5")


@pytest.mark.parametrize(
    ("column", "known", "other", "text"),
    [
        ("item", "1.0", "1", r"of the rows .*such as '1', but not such as '1\.0'"),
        ("events", "1,2", "1.0,2.0", "of the events"),
    ],
)
def test_a_column_that_is_mostly_unseen_is_said_loudly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str, known: str, other: str, text: str
) -> None:
    fields = fitted(tmp_path, raw_table(60, **{column: [known] * 60}))
    for value, warnings in ((known, 0), (other, 1)):
        with H5Table(to_test_h5(tmp_path, raw_table(20, **{column: [value] * 20}))) as table:
            FeatureEncoder(fields, table).warn_of_unseen(table)
        found = [m for m in caplog.messages if m.startswith(f"column '{column}'")]
        assert len(found) == warnings
    assert re.search(f"100 % {text}", found[0])


def test_a_feature_map_comes_back_from_its_file_and_of_another_shape_is_refused(
    tmp_path: Path,
) -> None:
    path, fields = tmp_path / "feature_map.json", fitted(tmp_path, raw_table(60))
    fields.write(path)
    assert FeatureMap.read(path) == fields
    plain = json.loads(path.read_text())
    # What another version knows besides is not looked at.
    plain["numeric"] = [{"skewness": 1.0, **field} for field in plain["numeric"]]
    assert FeatureMap.from_dict({**plain, "author": "x"}) == fields
    half = path.read_text()[: path.stat().st_size // 2]
    for content in ("[]", "{}", '{"profile": [{"column": 1}]}', half):
        path.write_text(content)
        with pytest.raises(UserError, match=r"feature_map\.json"):
            FeatureMap.read(path)
