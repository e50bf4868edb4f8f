"""Raw files in object storage are as good as local ones."""

import gzip
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from pyarrow import fs

from support import shop
from support.raw_tables import content, raw_table, read, write_raw
from tossctr.common.errors import UserError
from tossctr.raw import formats
from tossctr.raw.location import TableLocation
from tossctr.raw.reading import RawTable

Put = Callable[[str, bytes | Path], str]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of moto's server, which `make test` installs, on a free loopback port."""
    # Apart, since it wants older versions of what the workflow stands on.
    path = os.pathsep.join([f"{sys.prefix}/moto/bin", os.environ["PATH"]])
    server = shutil.which("moto_server", path=path)
    if server is None:
        pytest.skip("moto_server is not installed: make test")
    log = tmp_path_factory.mktemp("store") / "moto.log"
    command = [server, "-H", "127.0.0.1", "-p", "0"]
    with open(log, "w") as file, subprocess.Popen(command, stderr=file) as process:
        while not (place := re.search(r"Running on (http://[\d.:]+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield place[1]
        process.terminate()


@pytest.fixture
def put(store: str, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Stores bytes or a file as shop/key, in a bucket that is empty; returns the URI."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    # Also in processes that are started.
    monkeypatch.setenv("AWS_ENDPOINT_URL", store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    urllib.request.urlopen(f"{store}/moto-api/reset", data=b"").close()
    # A small object in one request, so that its ETag depends on its content alone.
    options = "region=us-east-1&allow_bucket_creation=true&allow_delayed_open=true"
    system, _ = fs.FileSystem.from_uri(f"s3://shop/x?{options}")
    system.create_dir("shop")

    def put(key: str, content: bytes | Path) -> str:
        with system.open_output_stream(f"shop/{key}", compression=None) as file:
            file.write(content.read_bytes() if isinstance(content, Path) else content)
        return f"s3://shop/{key}"

    return put


def test_a_table_in_a_bucket_has_the_rows_and_parts_of_a_local_one(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row groups count as large, so they are read in pieces. The country comes from the folders."""
    monkeypatch.setattr(formats, "MAX_GROUP_BYTES", 0)
    table = raw_table(rows=80).drop_columns("country")
    for i, country in enumerate(["K R", "__HIVE_DEFAULT_PARTITION__"]):
        folder = tmp_path / f"in/country={country}"
        folder.mkdir(parents=True)
        path = write_raw(folder, table[40 * i : 40 * i + 40], "a", row_group_size=30)
        put(str(path.relative_to(tmp_path)), path)
    put("in/_SUCCESS", b"")
    first = TableLocation("s3://shop/in/").files[0]
    assert str(first) == "s3://shop/in/country=K%20R/a.parquet"
    made = []
    for place in (str(tmp_path / "in"), "s3://shop/in"):
        whole = RawTable(place)
        parts = [
            RawTable([piece.file for piece in part.pieces], part)
            for part in whole.listing(25).parts
        ]
        made.append([read(raw).to_pandas() for raw in (whole, *parts)])
    assert [len(rows) for rows in made[0]] == [80, 30, 10, 30, 10]
    assert all(map(pd.DataFrame.equals, *made))


@pytest.mark.workflow
def test_tables_in_a_bucket_give_the_same_h5_files_and_a_replaced_object_its_part_again(
    put: Put, finished: tuple[Path, str], tmp_path: Path
) -> None:
    shop.write_inputs(tmp_path)
    log, new = (pd.read_parquet(tmp_path / f"in/{name}.parquet") for name in ("log", "new"))
    sample = "\n".join(["\ufeffvisit,bought", *(f"{i},0" for i in new["visit"])]).encode()

    def packed(rows: pd.DataFrame) -> bytes:
        return gzip.compress(rows.to_csv(index=False, sep="|").encode(), mtime=0)

    # The rows of the train file, as two objects, which are the parts that the file is cut into.
    put("in/log/day=1/b c.csv.gz", packed(log[:150]))
    put("in/log/day=2/a.csv.gz", packed(log[150:]))
    raw = {
        "train": "s3://shop/in/log/",
        "test": put("in/new.parquet", tmp_path / "in/new.parquet"),
        "sample_submission": put("in/s.csv.gz", gzip.compress(sample)),
        "delimiter": "|",
    }
    shutil.rmtree(tmp_path / "in")
    config = shop.changed("table.raw", raw)
    targets = ("data/h5/toy/feature_map.json", "data/h5/test/part000.h5")
    shop.snakemake(tmp_path, *targets, config=config)
    h5 = [path.relative_to(tmp_path) for path in tmp_path.glob("data/h5/**/*.h5")]
    assert len(h5) == 5
    for file in h5:
        assert content(tmp_path / file) == content(finished[0] / file)
    put("in/log/day=1/b c.csv.gz", packed(log[149::-1]))
    # What is put there again is the same.
    put("in/log/day=2/a.csv.gz", packed(log[150:]))
    put("in/s.csv.gz", gzip.compress(sample + b"\n"))
    listings = ("data/samples/toy.json", "data/h5/test/parts.json")
    output = shop.snakemake(tmp_path, *listings, config=config)
    assert len(re.findall(r"^Job \d+: (?:Drawing the rows|Listing the parts)", output, re.M)) == 2
    output = shop.snakemake(tmp_path, "-n", *targets, config=config)
    assert sorted(re.findall(r"^Job \d+: (.*)", output, re.M)) == [
        "Converting part 000 of the train table to H5, size toy",
        "Fitting the feature map of size toy",
    ]


def test_what_cannot_be_read_is_named(put: Put, tmp_path: Path) -> None:
    put("cut.parquet", write_raw(tmp_path, raw_table()).read_bytes()[:-100])
    put("empty/_SUCCESS", b"")
    for location in (
        *("s3://shop/none.parquet", "s3://shop/cut.parquet", "s3://shop/empty/"),
        *("s3:/shop/cut.parquet", "https://shop/raw.parquet"),
    ):
        with pytest.raises(UserError, match=f"^{re.escape(location)}: "):
            RawTable(location)


def test_an_object_that_is_replaced_while_it_is_read_is_refused(put: Put, tmp_path: Path) -> None:
    remote = put("a.parquet", write_raw(tmp_path, raw_table(5000), row_group_size=1000))
    batches = RawTable(remote).stream(["events"], 100)
    next(batches)
    put("a.parquet", write_raw(tmp_path, raw_table(1000, seed=5), row_group_size=500))
    with pytest.raises(UserError, match=f"{remote}: was replaced"):
        list(batches)
