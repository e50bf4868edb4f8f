"""Raw files in object storage: what is read of them, and what is said where that fails."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import pyarrow.parquet as pq
import pytest
import shop
from bucket import Bucket
from conftest import COLUMNS, content, raw_table, write_raw
from pyarrow import fs
from test_staleness import documented, planned

from feseq import raw
from feseq.conversion import convert_test, convert_train
from feseq.errors import UserError
from feseq.files import fingerprint
from feseq.location import check_location, open_location, version_of
from feseq.raw import open_parquet, stream
from feseq.sampling import read_labels, select_rows
from feseq.settings import check_raw, locate_raw
from feseq.submission import read_sample_ids

TRAIN, TEST, SAMPLE = "s3://shop/in/log.parquet", "s3://shop/in/new.parquet", "s3://shop/in/s.csv"
REMOTE = shop.changed("raw", {"source": "auto", "train": TRAIN, "test": TEST})


def use(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a store on loopback the one that s3:// means, here and in processes that are started."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{endpoint}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    store = Bucket()
    use(store.endpoint, monkeypatch)
    yield store
    store.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def put(bucket: Bucket, key: str, path: Path) -> str:
    bucket.objects[key] = path.read_bytes()
    return f"s3://{key}"


def put_inputs(folder: Path) -> dict[str, bytes]:
    """The shop's raw files as objects; nothing is left in `folder`."""
    shop.write_inputs(folder)
    found = {f"shop/in/{path.name}": path.read_bytes() for path in (folder / "in").iterdir()}
    shutil.rmtree(folder / "in")
    return found


# --- the same as from local files


@pytest.mark.parametrize("most_of_group", [1 << 30, 0])
def test_conversion_of_a_remote_file_equals_that_of_a_local_one(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_of_group: int
) -> None:
    monkeypatch.setattr(raw, "_MOST_OF_GROUP", most_of_group)
    path = write_raw(tmp_path, raw_table(rows=300), row_group_size=70)
    remote = put(bucket, "shop/in/raw.parquet", path)
    made = []
    for place in (path, remote):
        folder = tmp_path / str(len(made))
        chosen = select_rows(read_labels(place, "y"), None, 0.25, seed=3)
        chosen.write(folder / "selection.parquet")
        files = [folder / name for name in ("train.h5", "valid.h5", "test.h5")]
        convert_train(place, folder / "selection.parquet", COLUMNS, *files[:2])
        convert_test(place, COLUMNS, files[2], folder / "shards.json", rows_per_shard=90)
        made.append([content(file) for file in files] + [(folder / "shards.json").read_text()])
        with h5py.File(files[0]) as h5:
            source = json.loads(h5.attrs["source"])
        assert source["file"] == "raw.parquet"
        assert source["bytes"] == path.stat().st_size
        assert source["fingerprint"] == fingerprint(path)
    assert made[0] == made[1]


def test_the_chain_from_a_bucket_ends_in_the_same_submission(
    bucket: Bucket, finished: tuple[Path, str], tmp_path: Path
) -> None:
    bucket.objects |= put_inputs(tmp_path)
    code, output = shop.snakemake(tmp_path, *shop.TARGETS, config=REMOTE)
    assert code == 0, output
    for target in shop.TARGETS:
        assert (tmp_path / target).read_bytes() == (finished[0] / target).read_bytes()
    assert not (tmp_path / "in").exists()
    # The same bytes again: nothing is stale. Other ones: what reads that object, and what follows.
    bucket.requests.clear()
    assert stale(tmp_path) == {}
    assert len(bucket.requests) == 10
    shop.shop_table(shop.ROWS, seed=9).to_parquet(tmp_path / "other.parquet")
    before = bucket.objects["shop/in/log.parquet"]
    put(bucket, "shop/in/log.parquet", tmp_path / "other.parquet")
    assert stale(tmp_path) == dict(documented())["train file replaced, time kept"]
    bucket.objects["shop/in/log.parquet"] = before
    assert stale(tmp_path) == {}
    table = shop.shop_table(shop.TEST_ROWS, seed=9)
    table.insert(2, "visit", [f"v-{i:03}" for i in range(shop.TEST_ROWS)])
    table.to_parquet(tmp_path / "other.parquet")
    put(bucket, "shop/in/new.parquet", tmp_path / "other.parquet")
    assert stale(tmp_path) == dict(documented())["test file replaced, time kept"]


def stale(folder: Path) -> dict[str, str]:
    code, output = shop.snakemake(folder, "-n", *shop.TARGETS, config=REMOTE)
    assert code == 0, output
    return planned(output)
