"""Settings as params of rules: the text of each, and which count."""

import inspect
from types import SimpleNamespace

from entry import read_settings
from feseq.staleness import not_counted, settings


def test_settings_come_back_from_their_texts() -> None:
    values = {"rows": None, "model.heads": 2, "model.mlp": [1, 2], "name": "a=b {x} 'ü'"}
    values["size"] = lambda wildcards: wildcards.size
    job = SimpleNamespace(size="toy")
    texts = [param(job) for param in settings(**values, absent=...).values()]
    assert texts.pop() == ""
    assert read_settings(texts) == {
        "rows": None,
        "model": {"heads": 2, "mlp": [1, 2]},
        "name": "a=b {x} 'ü'",
        "size": "toy",
    }


def test_snakemake_never_compares_what_does_not_count() -> None:
    (param,) = not_counted(gpus=2).values()
    assert "resources" in inspect.signature(param).parameters
    assert param(None, None) == "gpus=2"
