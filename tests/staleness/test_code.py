"""Params of rules: digests of code, what a script reaches, which edits count."""

import importlib
import re
import sys
from pathlib import Path

import pytest

from support import SCRIPTS
from tossctr.catalog.model_kinds import MODEL_KINDS
from tossctr.staleness import CodeDigests

MODULES = {
    "run.py": "from tossctr.a import f\n",
    "other.py": "import numpy\n",
    "tossctr/__init__.py": "",
    "tossctr/a.py": "from .b import g\nfrom . import c\n\ndef f():\n    from .pack.deep import h\n",
    "tossctr/b.py": "from .a import f  # a circle\n",
    "tossctr/c.py": "",
    "tossctr/pack/__init__.py": "from ..d import x\n",
    "tossctr/pack/numbers.json": "[1]",
    "tossctr/other/numbers.json": "[1]",
    "tossctr/pack/deep.py": '"""Deep."""\nX = 1\n',
    "tossctr/d.py": "import tossctr.e\n",
    "tossctr/e.py": "",
    "tossctr/unused.py": "",
}
OUTSIDE = {"other.py", "tossctr/unused.py", "tossctr/other/numbers.json"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of scripts whose package is found in place of ours."""
    monkeypatch.delitem(sys.modules, "tossctr")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def digests(folder: Path, script: str = "run.py", **changed: str) -> dict[str, str]:
    """Digest by path, with files changed: `tossctr__a="..."`."""
    for name, text in MODULES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(changed.get(name.removesuffix(".py").replace("/", "__"), text))
    importlib.invalidate_caches()
    return dict(text.split("@") for text in CodeDigests(folder).by_file(script))


def test_a_script_reaches_modules_by_any_way_of_import(folder: Path) -> None:
    assert set(digests(folder)) == set(MODULES) - OUTSIDE
    assert set(digests(folder, "other.py")) == {"other.py"}


DEEP = '''"""Deep."""
import logging

logger = logging.getLogger(__name__)

def check(rows: int, limit: int = Field(default=9)) -> int:
    """How many."""
    if rows > limit:
        raise ValueError(f"{rows:,} rows; " + "at most 9")
    logger.info("%d rows in %s", rows, f"file {limit:>5}")
    return "rows"
'''
# Edits of it, and whether they count: logic does, what people read does not.
EDITS = [
    ("Deep.", "Other words.", False),
    ("if rows > limit:", "# Too many.\n    if (rows > limit):", False),
    ("at most 9", "no more than nine", False),
    ("%d rows in %s", "%d of %s", False),
    ("rows > limit:", "rows >= limit:", True),
    ("ValueError", "TypeError", True),
    ("default=9", "default=8", True),
    ("logger.info", "print", True),
    ('return "rows"', 'return "row"', True),
]


@pytest.mark.parametrize(("old", "new", "counts"), EDITS)
def test_logic_counts_and_what_people_read_does_not(
    folder: Path, old: str, new: str, counts: bool
) -> None:
    before = digests(folder, tossctr__pack__deep=DEEP)
    after = digests(folder, tossctr__pack__deep=DEEP.replace(old, new))
    changed = {name for name in before if before[name] != after[name]}
    assert old in DEEP
    assert changed == ({"tossctr/pack/deep.py"} if counts else set())


def test_a_new_metric_or_model_family_trains_and_predicts_nothing_again() -> None:
    code = CodeDigests(SCRIPTS)

    def reached(*names: str) -> set[str]:
        """The packages of the library that files reach, and kinds of models."""
        return {*re.findall(r"tossctr/(?:models/(?=\w+/))?(\w+)", "\n".join(code.by_file(*names)))}

    for script, measures in (("fit_baseline", False), ("importance", False), ("measure", True)):
        texts = "".join(code.by_file(f"{script}.py"))
        assert ("evaluate/metric_table" in texts) == measures
    folders = {kind.package.replace(".", "/"): kind for kind in MODEL_KINDS.values()}
    kinds = {Path(folder).name for folder in folders}
    assert kinds == {"feseq", "boosting"}
    for folder, kind in folders.items():
        entries = [f"{folder}/{kind.entry_points[name]}.py" for name in ("train", "load")]
        packages = reached("train.py", "predict.py", *entries)
        assert not packages & {"describe", "evaluate", "report", "tuning"}
        assert packages & kinds == {Path(folder).name}
