"""Raw files in object storage: as good as local ones, and read no more than that takes."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from feseq.common.errors import UserError
from feseq.dataset.conversion import convert_test, convert_train
from feseq.dataset.list_test import list_test
from feseq.dataset.sampling import read_labels
from feseq.dataset.selection import write_selections
from feseq.predict.submission_ids import sample_ids
from feseq.raw import parquet_file as raw
from feseq.raw.listing import TableLocation
from feseq.raw.location import Location
from feseq.raw.parts import read_parts
from feseq.raw.reading import open_parquet
from feseq.raw.source import locate_raw
from support import REPOSITORY, shop
from support.bucket import Bucket, put, use
from support.plans import documented, planned
from support.raw_tables import COLUMNS, content, raw_table, selected, write_raw

TRAIN, TEST, SAMPLE = "s3://shop/in/log.parquet", "s3://shop/in/new.parquet", "s3://shop/in/s.csv"
# Apart, since it wants older versions of what the workflow stands on.
MOTO = REPOSITORY / ".venv/moto/bin/moto_server"
REMOTE = shop.changed(
    "raw", {"source": "auto", "train": TRAIN, "test": TEST, "sample_submission": SAMPLE}
)


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
        chosen = selected(read_labels(open_parquet(place), "y"), valid_share=0.25)
        write_selections([chosen], folder / "selection.parquet")
        files = [folder / name for name in ("train.h5", "valid.h5")]
        convert_train(place, folder / "selection.parquet", COLUMNS, *files)
        list_test(place, COLUMNS, folder / "parts.json", rows=90)
        for i, part in enumerate(read_parts(folder / "parts.json").parts):
            files.append(folder / f"part{i}.h5")
            convert_test(place, COLUMNS, files[-1], part=part)
        made.append([content(file) for file in files])
        with h5py.File(files[0]) as h5:
            source = json.loads(h5.attrs["source"])
        assert source["file"] == "raw.parquet"
        assert source["bytes"] == path.stat().st_size
        assert source["fingerprint"] == Location(place).version
    assert len(made[0]) == 5
    assert made[0] == made[1]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["Moto"]:
    """A store that others wrote: moto's server, which `make test` installs apart."""
    server = MOTO if MOTO.exists() else shutil.which("moto_server")
    if server is None:
        pytest.skip("moto_server is not installed: make test")
    log = tmp_path / "moto.log"
    with open(log, "w") as file:
        process = subprocess.Popen([server, "-H", "127.0.0.1", "-p", "0"], stderr=file)
    while not (place := re.search(r"Running on http://([\d.:]+)", log.read_text())):
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    use(place[1], monkeypatch)
    yield Moto()
    process.terminate()
    process.wait()


class Moto:
    """Puts objects into moto's store."""

    def __init__(self) -> None:
        # A small object in one request, and not as an upload of several parts.
        options = "region=us-east-1&allow_bucket_creation=true&allow_delayed_open=true"
        self.system, _ = fs.FileSystem.from_uri(f"s3://shop/x?{options}")
        self.system.create_dir("shop")

    def put(self, key: str, content: bytes) -> None:
        with self.system.open_output_stream(key) as file:
            file.write(content)


@pytest.mark.workflow
def test_the_chain_from_a_bucket_ends_in_the_same_submission(
    store: Moto, finished: tuple[Path, str], tmp_path: Path
) -> None:
    inputs, other = shop_inputs(tmp_path), shop_inputs(tmp_path, seed=9)
    train, _, sample = inputs
    # The rows of the train file, as two objects below a folder.
    places = ("shop/in/log/day=2/b c.parquet", "shop/in/log/day=10/a.parquet")
    for objects in (inputs, other):
        log = pq.read_table(BytesIO(objects.pop(train)))
        for place, rows in zip(places, (log[:150], log[150:])):
            objects[place] = parquet(rows)
    for key, body in (inputs | {"shop/in/log/_SUCCESS": b""}).items():
        store.put(key, body)
    found = [str(file) for file in TableLocation("s3://shop/in/l*").files]
    assert found == [f"s3://{place}".replace(" ", "%20") for place in places]
    config = shop.changed("raw", REMOTE["raw"] | {"train": "s3://shop/in/log/"})
    # The two objects are the parts that the file is cut into.
    config = shop.changed("parts.rows", 50, config)
    submission = "results/submission_toy.csv"
    code, output = shop.snakemake(tmp_path, submission, config=config)
    assert code == 0, output
    assert (tmp_path / submission).read_bytes() == (finished[0] / submission).read_bytes()
    assert not (tmp_path / "in").exists()
    for key, body, change in (
        (places[1], inputs[places[1]], "nothing"),
        (places[1], other[places[1]], "train file replaced, time kept"),
        (sample, other[sample], "sample submission given"),
    ):
        store.put(key, body)
        code, output = shop.snakemake(tmp_path, "-n", submission, config=config)
        assert code == 0, output
        assert planned(output) == as_documented(change)
        store.put(key, inputs[key])
    with pytest.raises(UserError, match=r"s3://shop/in/lo: is a folder without a file"):
        open_parquet("s3://shop/in/lo/")
    with pytest.raises(UserError, match=r"s3://shop/in/\*.csv.gz: this pattern matches no file"):
        open_parquet("s3://shop/in/*.csv.gz")


def parquet(table: pa.Table) -> bytes:
    sink = BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def shop_inputs(folder: Path, seed: int = 0) -> dict[str, bytes]:
    """The shop's raw files as objects, with a sample submission; nothing is left in `folder`."""
    shop.write_inputs(folder)
    files = [folder / "in" / name for name in ("log.parquet", "new.parquet", "s.csv")]
    ids = pq.read_table(files[1])["visit"].to_pylist()
    files[2].write_text("\n".join(["visit,bought", *(f"{i},0" for i in ids[:: -1 if seed else 1])]))
    if seed:
        for file in files[:2]:
            table = pq.read_table(file)
            pq.write_table(table.take(np.random.default_rng(seed).permutation(len(table))), file)
    found = {f"shop/in/{file.name}": file.read_bytes() for file in files}
    shutil.rmtree(folder / "in")
    return found


def as_documented(change: str) -> dict[str, str]:
    """The row of the table in rules/README.md, as far as it is about toy."""
    cells = dict(documented())[change]
    return {r: "toy" if cell == "all" else cell for r, cell in cells.items() if cell != "full"}


def test_only_columns_in_use_are_fetched(bucket: Bucket, tmp_path: Path) -> None:
    table = raw_table(rows=3000)
    # In front, between and behind the columns in use, too large to be read along with them.
    for place in (0, 4, 8):
        table = table.add_column(place, f"spare{place}", [np.random.default_rng(1).random(3000)])
    path = write_raw(tmp_path, table, row_group_size=2000)
    remote = put(bucket, "shop/raw.parquet", path)
    file = open_parquet(remote)
    opened = len(bucket.requests)
    wanted = ("price", "events", "y")
    rows = sum(len(batch) for _, batch in file.stream(wanted, 500))
    reads = [request for request in bucket.requests[opened:] if request.method == "GET"]
    assert rows == 3000
    metadata = pq.read_metadata(path)
    chunks = [metadata.row_group(g).column(c) for g in range(2) for c in range(11)]
    bytes_of = {True: 0, False: 0}
    for chunk in chunks:
        bytes_of[chunk.path_in_schema in wanted] += chunk.total_compressed_size
    fetched = sum(read.stop - read.start for read in reads)
    # Gaps of less than a few KB are cheaper to read than another request.
    assert bytes_of[True] <= fetched < bytes_of[True] + 20_000 < bytes_of[False]
    assert len(reads) <= 6


def test_opening_reads_the_end_alone(bucket: Bucket, tmp_path: Path) -> None:
    path = write_raw(tmp_path, raw_table(rows=30_000, longest=40))
    remote = put(bucket, "shop/raw.parquet", path)
    file = open_parquet(remote)
    assert [request.method for request in bucket.requests] == ["HEAD", "GET"]
    assert sum(read.stop - read.start for read in bucket.read("shop/raw.parquet")) == 1 << 16
    assert file.version == Location(remote).version


@pytest.mark.workflow
def test_a_dry_run_asks_little_and_jobs_that_read_no_raw_file_ask_nothing(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.objects |= shop_inputs(tmp_path)
    submission = "results/submission_toy.csv"
    assert shop.snakemake(tmp_path, "-n", submission, config=REMOTE)[0] == 0
    # Each file is opened once and has its end or its header read.
    assert len(bucket.requests) == 3 * 2
    code, output = shop.snakemake(tmp_path, "data/h5/toy/feature_map.json", config=REMOTE)
    assert code == 0, output
    bucket.requests.clear()
    (tmp_path / "data/h5/toy/feature_map.json").unlink()
    code, output = shop.snakemake(tmp_path, "data/h5/toy/feature_map.json", config=REMOTE)
    assert code == 0, output
    assert "1 of 1 steps (100%) done" in output
    assert len(bucket.read("shop/in/log.parquet")) == 1
    assert len(bucket.read("shop/in/new.parquet")) == 1


def test_the_ids_of_a_remote_sample_submission_are_read(bucket: Bucket) -> None:
    bucket.objects["shop/s.csv"] = b'\xef\xbb\xbfID,clicked\n"a,b",0\nc,0\n'
    sample = "s3://shop/s.csv"
    raw_config = {"source": "auto", "train": TRAIN, "test": TEST, "sample_submission": sample}
    found = locate_raw(raw_config)
    files = (found.train, found.test, found.sample_submission)
    assert [str(file) for file in files] == [TRAIN, TEST, sample]
    (batch,) = sample_ids(sample, "ID")
    assert batch["id"].to_pylist() == ["a,b", "c"]
    with pytest.raises(UserError, match=r"s3://shop/s.csv: its header .* no column 'uid'"):
        found.check(COLUMNS)


def test_a_script_by_hand_asks_neither_aws_nor_ec2(bucket: Bucket, tmp_path: Path) -> None:
    other = Bucket()
    environment = os.environ | {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{other.endpoint}/"}
    del environment["AWS_EC2_METADATA_DISABLED"], environment["AWS_ENDPOINT_URL"]
    put(bucket, "shop/raw.parquet", write_raw(tmp_path, raw_table()))
    uri = f"s3://shop/raw.parquet?endpoint_override={bucket.endpoint}&scheme=http"
    command = [sys.executable, str(shop.REPOSITORY / "scripts/sample.py"), "--raw", uri]
    command += ["--label", "y", "--rows", "50", "--sampling", '{"valid_share": 0.1, "seed": 1}']
    command += ["--part_rows", "99", "--selection", str(tmp_path / "toy.parquet")]
    command += ["--parts", str(tmp_path / "toy.json")]
    subprocess.run(command, env=environment, check=True)
    assert pq.read_metadata(tmp_path / "toy.parquet").num_rows == 50
    assert bucket.requests
    assert not other.requests
    other.close()


@pytest.mark.workflow
def test_a_wrong_place_stops_the_workflow_before_a_job(bucket: Bucket, tmp_path: Path) -> None:
    bucket.objects |= shop_inputs(tmp_path)
    del bucket.objects["shop/in/log.parquet"]
    output = shop.refused(tmp_path, "results/submission_toy.csv", config=REMOTE)
    assert f"{TRAIN}: there is no such object, or no such bucket" in output
    assert "SIMULATED" not in output
