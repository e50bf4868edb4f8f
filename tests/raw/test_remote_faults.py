"""Raw files in object storage that cannot be read, or not as they were: what is said of it."""

import itertools
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from feseq.common.errors import UserError
from feseq.dataset.conversion import convert_test
from feseq.raw import location as location_of_stores
from feseq.raw.location import Location
from feseq.raw.reading import open_parquet
from feseq.raw.source import locate_raw
from support.bucket import Bucket, put, use
from support.raw_tables import COLUMNS, raw_table, write_raw

TRAIN, TEST = "s3://shop/in/log.parquet", "s3://shop/in/new.parquet"


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(UserError) as refused:
        read()
    return str(refused.value)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://shop/raw.parquet", "only local paths, s3://"),
        ("hdfs://shop/raw.parquet", "only local paths, s3://"),
        ("s3:/shop/raw.parquet", "only local paths, s3://"),
        ("S3://shop/raw.parquet", "only local paths, s3://"),
        ("s3://shop", "names no single object"),
        ("s3:///raw.parquet", "names no single object"),
        ("s3://shop/a#b.parquet", "names no single object"),
        ("s3://[shop/raw.parquet", "is no URI"),
    ],
)
def test_a_location_that_cannot_be_right_is_refused_before_anything_is_asked(
    location: str, said: str, bucket: Bucket
) -> None:
    files = {"source": "auto", "train": location, "test": TEST, "sample_submission": "no.csv"}
    message = refusal(lambda: locate_raw(files))
    assert message.startswith(f"{location}: ")
    assert said in message
    assert not bucket.requests


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("s3://key:secret@shop/raw.parquet", "s3://***@shop/raw.parquet"),
        # Half of AWS's secret keys have a slash.
        ("s3://key:se/cret@shop/raw.parquet", "s3://***@shop/raw.parquet"),
        ("gs://key:se/cret@shop/raw.parquet", "gs://***@shop/raw.parquet"),
        ("gs://anonymous@key:se/cret@shop/raw.parquet", "gs://***@shop/raw.parquet"),
    ],
)
def test_credentials_in_a_location_are_refused_and_not_repeated(location: str, shown: str) -> None:
    message = refusal(lambda: Location(location))
    assert message.startswith(f"{shown}: credentials do not belong in a config")
    assert "cret" not in message


@pytest.mark.parametrize("name", ["secret_key", "anonymous"])
def test_options_that_there_are_not_are_refused_and_their_values_not_repeated(name: str) -> None:
    message = refusal(partial(open_parquet, f"s3://shop/raw.parquet?region=x&{name}=abc"))
    assert message.startswith(f"s3://shop/raw.parquet?{name}=***: there is no such option")
    assert "abc" not in message


def test_locations_without_credentials_pass() -> None:
    Location("gs://anonymous@shop/raw.parquet")
    Location("s3://shop/a%40b.parquet?endpoint_override=host:9000&scheme=http&region=x")


@pytest.mark.parametrize("source", ["auto", "files"])
def test_a_remote_file_beside_a_missing_local_one_is_no_reason_to_simulate(source: str) -> None:
    files = {"source": source, "train": TRAIN, "test": "no.parquet", "sample_submission": "no.csv"}
    assert "these raw files are missing: no.parquet (s3://" in refusal(lambda: locate_raw(files))
    assert locate_raw(files | {"source": "simulated"}).simulated


def test_objects_that_cannot_be_read_are_refused_by_cause(bucket: Bucket, tmp_path: Path) -> None:
    body = write_raw(tmp_path, raw_table()).read_bytes()
    bucket.objects |= {"shop/raw.parquet": body, "shop/cut.parquet": body[:-100], "shop/0": b""}
    bucket.denied.add("shop/secret.parquet")
    for key, said in {
        "shop/none.parquet": "there is no such object, or no such bucket",
        "nobody/raw.parquet": "there is no such object, or no such bucket",
        # What a folder of files is to S3: no object.
        "shop": "names no single object",
        "shop/secret.parquet": "access denied",
        "shop/cut.parquet": f"not a complete parquet file .* (here {len(body) - 100:,} bytes)",
        "shop/0": "not a complete parquet file",
        "shop/a b.parquet": "cannot be read from the store (Cannot parse URI",
    }.items():
        message = refusal(partial(open_parquet, f"s3://{key}"))
        assert message.startswith(f"s3://{key}: ")
        assert all(part in message for part in said.split(" .* ")), message


@pytest.mark.parametrize(
    "location",
    [
        "s3://shop/raw.parquet?endpoint_override=127.0.0.1:{port}&scheme=http",
        "gs://anonymous@shop/raw.parquet?endpoint_override=127.0.0.1:{port}&scheme=http"
        "&retry_limit_seconds=2",
    ],
)
def test_a_store_that_cannot_be_reached_is_said_in_seconds(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use("127.0.0.1:1", monkeypatch)
    with socket.socket() as nobody:
        # Bound, so that it is nobody else's, and deaf.
        nobody.bind(("127.0.0.1", 0))
        location = location.format(port=nobody.getsockname()[1])
        message = refusal(lambda: open_parquet(location))
    assert message.startswith(f"{location}: the store cannot be reached")


def waiting_connections(server: socket.socket) -> int:
    """How often a server that accepts nothing was called."""
    server.setblocking(False)
    for calls in itertools.count():
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return calls
    raise AssertionError


def test_a_store_that_never_answers_is_given_up_after_20_seconds_and_said_before(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    silence = location_of_stores._S3_ATTEMPTS * location_of_stores._S3_SILENT_SECONDS
    assert location_of_stores._SECONDS_UNTIL_TOLD < silence < 20
    # A quarter as long, and told sooner. The attempts are counted, since a clock would also
    # measure how busy the machine is.
    monkeypatch.setattr(location_of_stores, "_S3_SILENT_SECONDS", 1)
    monkeypatch.setattr(location_of_stores, "_SECONDS_UNTIL_TOLD", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use(f"127.0.0.1:{silent.getsockname()[1]}", monkeypatch)
        message = refusal(lambda: open_parquet("s3://shop/raw.parquet"))
        assert waiting_connections(silent) == location_of_stores._S3_ATTEMPTS
    assert message.startswith("s3://shop/raw.parquet: the store cannot be reached")
    assert caplog.text.count("s3://shop/raw.parquet: no answer for 0.5 s") == 1


@pytest.mark.parametrize("longer", [True, False])
def test_an_object_that_is_replaced_while_it_is_read_is_refused(
    bucket: Bucket, tmp_path: Path, longer: bool
) -> None:
    path = write_raw(tmp_path, raw_table(rows=5000), row_group_size=1000)
    remote = put(bucket, "shop/raw.parquet", path)
    columns = raw_table(rows=9000 if longer else 1000, seed=5)
    other = write_raw(tmp_path, columns, "other", row_group_size=500).read_bytes()

    def replace_it(key: str) -> None:
        if len(bucket.read(key)) == 6:
            bucket.objects[key] = other

    bucket.on_get = replace_it
    h5 = tmp_path / "test.h5"
    message = refusal(lambda: convert_test(remote, COLUMNS, h5))
    assert message.startswith(f"{remote}: was replaced while it was being read")
    assert not h5.exists()
