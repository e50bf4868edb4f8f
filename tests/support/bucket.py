"""A store that speaks S3 on a free loopback port: moto's server, which `make test` installs."""

import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from . import REPOSITORY

# Apart, since it wants older versions of what the workflow stands on.
_MOTO = REPOSITORY / ".venv/moto/bin/moto_server"


def running(log: Path) -> Iterator[str]:
    """The endpoint of a server that runs until this is closed."""
    server = _MOTO if _MOTO.exists() else shutil.which("moto_server")
    if server is None:
        pytest.skip("moto_server is not installed: make test")
    command = [server, "-H", "127.0.0.1", "-p", "0"]
    with open(log, "w") as file, subprocess.Popen(command, stderr=file) as process:
        while not (place := re.search(r"Running on (http://[\d.:]+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield place[1]
        process.terminate()


class Bucket:
    """The bucket `shop`, empty, of what s3:// means from now on."""

    def __init__(self, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
        use(endpoint, monkeypatch)
        urllib.request.urlopen(f"{endpoint}/moto-api/reset", data=b"").close()
        # A small object in one request, so that its ETag depends on its content alone.
        options = "region=us-east-1&allow_bucket_creation=true&allow_delayed_open=true"
        self._system, _ = fs.FileSystem.from_uri(f"s3://shop/x?{options}")
        self._system.create_dir("shop")

    def put(self, key: str, content: bytes | Path) -> str:
        """Store an object or a file's content as shop/key; its URI."""
        with self._system.open_output_stream(f"shop/{key}") as file:
            file.write(content.read_bytes() if isinstance(content, Path) else content)
        return f"s3://shop/{key}"


def use(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an endpoint the one that s3:// means, here and in processes that are started."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
