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
from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from support import shop
from support.raw_tables import COLUMNS, raw_table, read, write_raw
from tossctr.common.errors import UserError
from tossctr.raw import formats
from tossctr.raw.location import TableLocation
from tossctr.raw.parts import read_parts
from tossctr.raw.raw_files import locate_raw
from tossctr.raw.reading import RawTable
from tossctr.raw.submission_ids import list_parts, sample_ids

# Apart, since it wants older versions of what the workflow stands on.
_MOTO = Path(sys.prefix) / "moto/bin/moto_server"


Put = Callable[[str, bytes | Path], str]


def use(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an endpoint the one that s3:// means, here and in processes that are started."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of moto's server, which `make test` installs, on a free loopback port."""
    server = _MOTO if _MOTO.exists() else shutil.which("moto_server")
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
    use(store, monkeypatch)
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


S3 = {
    "source": "auto",
    "delimiter": None,
    "test": "s3://shop/in/new.parquet",
    "sample_submission": "s3://shop/in/s.csv",
}


@pytest.mark.parametrize("max_group_bytes", [1 << 30, 0])
def test_a_table_in_a_bucket_has_the_rows_and_parts_of_a_local_one(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_group_bytes: int
) -> None:
    """Large row groups are read in pieces. The country comes from the folders."""
    monkeypatch.setattr(formats, "MAX_GROUP_BYTES", max_group_bytes)
    table = raw_table(rows=300).drop_columns("country")
    for i, country in enumerate(["K R", "US", "__HIVE_DEFAULT_PARTITION__"]):
        folder = tmp_path / f"in/country={country}"
        folder.mkdir(parents=True)
        path = write_raw(folder, table[100 * i : 100 * i + 100], "a", row_group_size=70)
        put(str(path.relative_to(tmp_path)), path)
    put("in/_SUCCESS", b"")
    first = TableLocation("s3://shop/in/").files[0]
    assert str(first) == "s3://shop/in/country=K%20R/a.parquet"
    made = []
    for place in (str(tmp_path / "in"), "s3://shop/in"):
        list_parts(place, COLUMNS, tmp_path / "parts.json", rows=60)
        parts = read_parts(tmp_path / "parts.json").parts
        opened = [RawTable([piece.file for piece in part.pieces], part) for part in parts]
        made.append([read(raw).to_pandas() for raw in (RawTable(place), *opened)])
    assert [len(rows) for rows in made[0]] == [300, *[70, 30] * 3]
    assert all(map(pd.DataFrame.equals, *made))


def test_a_csv_file_in_a_bucket_has_the_rows_of_a_local_one(put: Put, tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    raw_table(rows=300).to_pandas().to_csv(path, index=False)
    tables = [RawTable(place, columns=COLUMNS) for place in (path, put("in/log.csv.gz", path))]
    assert [table.rows for table in tables] == [300, 300]
    assert pd.DataFrame.equals(*(read(table).to_pandas() for table in tables))


@pytest.mark.workflow
def test_the_chain_from_a_bucket_ends_in_the_same_submission(
    put: Put, finished: tuple[Path, str], tmp_path: Path
) -> None:
    shop.write_inputs(tmp_path)
    inputs = tmp_path / "in"
    log, new = (pq.read_table(inputs / f"{name}.parquet") for name in ("log", "new"))
    ids = new["visit"].to_pylist()
    sample = "\n".join(["visit,bought", *(f"{i},0" for i in ids)]).encode()
    # The rows of the train file, as two objects, which are the parts that the file is cut into.
    for name, rows in (("day=1/b c", log[:150]), ("day=2/a", log[150:])):
        put(f"in/log/{name}.parquet", parquet(rows))
    put("in/new.parquet", inputs / "new.parquet")
    put("in/s.csv", sample)
    shutil.rmtree(inputs)
    config = shop.changed("table.raw", S3 | {"train": "s3://shop/in/log/"})
    config = shop.changed("parts.rows", 50, config)
    submission = "results/submission_toy.csv"
    shop.snakemake(tmp_path, submission, config=config)
    assert (tmp_path / submission).read_bytes() == (finished[0] / submission).read_bytes()
    assert not inputs.exists()
    other = parquet(log[150:].take(list(range(len(log) - 150))[::-1]))
    train, second = "in/log/day=2/a.parquet", parquet(log[150:])
    steps = {"sample", "fit_feature_map", "describe", "train", "predict", "submit"}
    for key, before, after, stale in (
        (train, second, second, set()),
        (train, second, other, steps),
        ("in/s.csv", sample, sample + b"\n", {"list_parts", "describe", "submit"}),
    ):
        put(key, after)
        output = shop.snakemake(tmp_path, "-n", submission, config=config)
        # By the table of jobs.
        assert {*re.findall(r"^(\w+) +\d+$", output, re.M)} - {"total"} == stale
        put(key, before)


def parquet(table: pa.Table) -> bytes:
    sink = BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.mark.parametrize("name", ["s.csv", "s.csv.gz"])
def test_the_ids_of_a_remote_sample_submission_are_read(put: Put, name: str) -> None:
    content = b'\xef\xbb\xbfID,clicked\n"a,b",0\nc,0\n'
    sample = put(name, gzip.compress(content) if name.endswith(".gz") else content)
    raw = locate_raw(S3 | {"train": "s3://shop/no.parquet", "sample_submission": sample})
    ids = pa.concat_tables(sample_ids(sample, "ID"))
    assert ids["id"].to_pylist() == ["a,b", "c"]
    # The header is looked at first.
    with pytest.raises(UserError, match=rf"s3://shop/{name}: .* column 'uid'"):
        raw.check(COLUMNS)


def test_what_cannot_be_read_is_named(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = write_raw(tmp_path, raw_table()).read_bytes()
    put("cut.parquet", body[:-100])
    put("empty/_SUCCESS", b"")
    for location in (
        *("s3://shop/none.parquet", "s3://nobody/raw.parquet", "s3://shop/cut.parquet"),
        *("s3://shop/empty/", "s3://shop/*.csv.gz", "s3://shop/a b.parquet"),
        *("s3:/shop/cut.parquet", "https://shop/raw.parquet", "s3://shop/x?nothing=1"),
    ):
        with pytest.raises(UserError) as refused:
            RawTable(location)
        assert str(refused.value).startswith(f"{location}: ")
    use("http://127.0.0.1:1", monkeypatch)
    with pytest.raises(UserError, match=r"s3://shop/cut.parquet: cannot be read: .*NETWORK"):
        RawTable("s3://shop/cut.parquet")


@pytest.mark.parametrize("source", ["auto", "files"])
def test_a_remote_file_beside_a_missing_local_one_is_no_reason_to_simulate(source: str) -> None:
    with pytest.raises(UserError, match=r"no.parquet"):
        locate_raw(S3 | {"source": source, "train": "no.parquet"})


@pytest.mark.parametrize("rows", [1000, 9000])
def test_an_object_that_is_replaced_while_it_is_read_is_refused(
    put: Put, tmp_path: Path, rows: int
) -> None:
    remote = put("a.parquet", write_raw(tmp_path, raw_table(5000), row_group_size=1000))
    batches = RawTable(remote).stream(["events"], 100)
    next(batches)
    put("a.parquet", write_raw(tmp_path, raw_table(rows, seed=5), row_group_size=500))
    with pytest.raises(UserError, match=f"{remote}: was replaced"):
        list(batches)
