"""Digests of code: what a script reaches, and which edits count."""

from pathlib import Path

import pytest

from feseq.staleness import code
from feseq.staleness.code import code_digests
from feseq.staleness.params import as_setting, read_settings

MODULES = {
    "run.py": "from feseq.a import f\n",
    "other.py": "import numpy\n",
    "feseq/__init__.py": "",
    "feseq/a.py": "from .b import g\nfrom . import c\n\ndef f():\n    from .pack.deep import h\n",
    "feseq/b.py": "from .a import f  # a circle\n",
    "feseq/c.py": "",
    "feseq/pack/__init__.py": "from ..d import x\n",
    "feseq/pack/numbers.json": "[1]",
    "feseq/other/numbers.json": "[1]",
    "feseq/pack/deep.py": '"""Deep."""\nX = 1\n',
    "feseq/d.py": "import feseq.e\n",
    "feseq/e.py": "",
    "feseq/unused.py": "",
}


OUTSIDE = {"other.py", "feseq/unused.py", "feseq/other/numbers.json"}


def digests(folder: Path, script: str = "run.py", **changed: str) -> dict[str, str]:
    """Digest by path, with files changed: `feseq__a="..."`."""
    for name, text in MODULES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(changed.get(name.removesuffix(".py").replace("/", "__"), text))
    for cached in (code._imports, code._digest):
        cached.cache_clear()
    return dict(text.split("@") for text in code_digests(folder / script))


def test_a_script_reaches_modules_by_any_way_of_import(tmp_path: Path) -> None:
    assert set(digests(tmp_path)) == set(MODULES) - OUTSIDE
    assert set(digests(tmp_path, "other.py")) == {"other.py"}


@pytest.mark.parametrize(
    ("deep", "counts"),
    [
        ('"""Other words."""\nX = 1\n', False),
        ("# No words.\n\nX = (\n    1\n)\n", False),
        ('"""Deep."""\nX = 2\n', True),
        ('"""Deep."""\nX = 1\n"""A text, and no docstring."""\n', True),
    ],
)
def test_what_the_code_says_counts_and_its_form_does_not(
    tmp_path: Path, deep: str, counts: bool
) -> None:
    before = digests(tmp_path)
    after = digests(tmp_path, feseq__pack__deep=deep)
    assert {name for name in before if before[name] != after[name]} == (
        {"feseq/pack/deep.py"} if counts else set()
    )


def test_settings_come_back_from_their_texts() -> None:
    values = {"rows": None, "model.heads": 2, "model.mlp": [1, 2], "name": "a=b {x} 'ü'"}
    texts = [as_setting(name, value) for name, value in values.items()]
    assert read_settings(texts) == {
        "rows": None,
        "model": {"heads": 2, "mlp": [1, 2]},
        "name": "a=b {x} 'ü'",
    }
