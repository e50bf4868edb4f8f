"""How long a training may take, from what earlier ones took."""

from pathlib import Path
from typing import Any

from feseq.batches import negatives
from feseq.common.files import write_json
from feseq.family.expected_time import expected_time


def put(results: Path, name: str, rows: int, seconds: float, **settings: Any) -> None:
    """The training.json of a training, whose train rows have a click rate of 1 %."""
    (results / name).mkdir(parents=True)
    training = {"train_rows": rows, "seconds": seconds, "settings": settings, "click_rate": 0.01}
    write_json(results / name / "training.json", training)


def test_the_largest_training_of_the_model_counts_by_its_rows(tmp_path: Path) -> None:
    assert expected_time(tmp_path, "len150", 1_000, {}) == ""
    put(tmp_path, "toy/len150", 100, 60)
    put(tmp_path, "medium/len150", 5_000, 600)
    put(tmp_path, "medium/boosting", 50_000, 1)
    (tmp_path / "full/len150").mkdir(parents=True)
    (tmp_path / "full/len150/training.json").write_text("{}")
    found = expected_time(tmp_path, "len150", 30_000, {})
    assert "1:00:00" in found
    assert str(tmp_path / "medium/len150") in found
    assert "negative_share" not in found
    assert "0:15:00" in expected_time(
        tmp_path, "len150", 30_000, {"train": {"negative_share": 0.25}}
    )
    # By `auto`, so many rows an epoch.
    put(tmp_path, "medium/len50", negatives.AUTO_ROWS // 10, 60)
    assert "0:10:00" in expected_time(
        tmp_path, "len50", 1_000_000, {"train": {"negative_share": "auto"}}
    )
    # A training with other settings tells nothing.
    blocks = lambda dim, seed: {"model": {"embedding_dim": dim}, "train": {"seed": seed}}  # noqa: E731
    put(tmp_path, "medium/len20", 5_000, 600, embedding_dim=16, seed=1)
    assert expected_time(tmp_path, "len20", 5_000, blocks(32, 1)) == ""
    assert expected_time(tmp_path, "len20", 5_000, blocks(16, 2))
