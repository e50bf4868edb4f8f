"""How long a training may take, from what earlier ones took."""

from pathlib import Path

import pytest

from feseq.common.files import write_json
from feseq.dataset import negatives
from feseq.family.expected_time import expected_time


def put(
    results: Path,
    size: str,
    model: str,
    rows: int,
    seconds: float,
    click_rate: float = 0.01,
    **settings: object,
) -> None:
    folder = results / size / model
    folder.mkdir(parents=True)
    training = {"train_rows": rows, "seconds": seconds, "settings": settings}
    training["click_rate"] = click_rate
    write_json(folder / "training.json", training)


def test_the_largest_training_of_the_model_counts_by_its_rows(tmp_path: Path) -> None:
    assert expected_time(tmp_path, "len150", 1_000, {}) == ""
    put(tmp_path, "toy", "len150", 100, 60)
    put(tmp_path, "medium", "len150", 5_000, 600)
    put(tmp_path, "medium", "boosting", 50_000, 1)
    (tmp_path / "full/len150").mkdir(parents=True)
    (tmp_path / "full/len150/training.json").write_text("{}")
    found = expected_time(tmp_path, "len150", 30_000, {})
    assert "1:00:00" in found
    assert str(tmp_path / "medium/len150") in found
    assert "negative_share" not in found
    assert "0:15:00" in expected_time(tmp_path, "len150", 30_000, {"negative_share": 0.25})


@pytest.mark.parametrize(
    ("rows", "click_rate", "expected"),
    [(1_000_000, 0.01, "0:10:00"), (10_000_000, 0.03, "2:20:00"), (20_000, 0.5, "0:01:20")],
)
def test_auto_takes_so_many_rows_an_epoch(
    tmp_path: Path, rows: int, click_rate: float, expected: str
) -> None:
    put(tmp_path, "medium", "len150", negatives.AUTO_ROWS // 10, 60, click_rate)
    assert expected in expected_time(tmp_path, "len150", rows, {"negative_share": "auto"})


def test_a_training_with_other_settings_tells_nothing(tmp_path: Path) -> None:
    put(tmp_path, "medium", "len150", 5_000, 600, embedding_dim=16, seed=1)
    assert expected_time(tmp_path, "len150", 5_000, {"embedding_dim": 32, "seed": 1}) == ""
    assert expected_time(tmp_path, "len150", 5_000, {"embedding_dim": 16, "seed": 2})
