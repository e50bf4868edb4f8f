"""Digests of code: what a script reaches, and which edits count."""

from pathlib import Path

import pytest

from feseq.staleness import code
from feseq.staleness.code import code_digests

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


def digests(
    folder: Path, script: str = "run.py", kept: Path | None = None, **changed: str
) -> dict[str, str]:
    """Digest by path, with files changed: `feseq__a="..."`, as a new process finds them."""
    for name, text in MODULES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(changed.get(name.removesuffix(".py").replace("/", "__"), text))
    for cached in (code._known, code._module, code._imports, code._files):
        cached.cache_clear()
    return dict(text.split("@") for text in code_digests(folder / script, kept))


def test_a_script_reaches_modules_by_any_way_of_import(tmp_path: Path) -> None:
    assert set(digests(tmp_path)) == set(MODULES) - OUTSIDE
    assert set(digests(tmp_path, "other.py")) == {"other.py"}


DEEP = '''"""Deep."""
import logging
import warnings

logger = logging.getLogger(__name__)

def check(rows: int, limit: int = Field(default=9, description="most rows")) -> int:
    """How many."""
    if rows > limit:
        raise ValueError(f"{rows:,} rows; " + "at most 9")
    logger.info("%d rows in %s", rows, f"file {limit:>5}")
    warnings.warn("few rows", stacklevel=2)
    if not rows:
        return UserError("no row at all")
    return "rows"
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Deep.", "Other words."),
        ("How many", "So many"),
        ("if rows > limit:", "# Too many.\n    if (rows > limit):"),
        ("{rows:,} rows; ", "{rows} lines: "),
        ("at most 9", "no more than nine"),
        ("%d rows in %s", "%d of %s"),
        ("file {limit:>5}", "{limit}"),
        ("few rows", "few"),
        ("no row at all", "none"),
        ("most rows", "largest number of rows"),
    ],
)
def test_words_and_form_do_not_count(tmp_path: Path, old: str, new: str) -> None:
    assert old in DEEP
    before = digests(tmp_path, feseq__pack__deep=DEEP)
    assert digests(tmp_path, feseq__pack__deep=DEEP.replace(old, new)) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rows > limit:", "rows >= limit:"),
        ("ValueError", "TypeError"),
        ("not rows", "rows < 1"),
        ("{rows:,}", "{next(rows)}"),
        ('at most 9"', 'at most 9" + str(limit)'),
        ("default=9", "default=8"),
        ("logger.info", "print"),
        ('return "rows"', 'return "row"'),
    ],
)
def test_logic_counts(tmp_path: Path, old: str, new: str) -> None:
    assert old in DEEP
    before = digests(tmp_path, feseq__pack__deep=DEEP)
    after = digests(tmp_path, feseq__pack__deep=DEEP.replace(old, new))
    assert {name for name in before if before[name] != after[name]} == {"feseq/pack/deep.py"}


def test_kept_digests_are_those_of_the_files_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept.json"
    with_import = {"feseq__c": "import feseq.unused"}
    plain, edited = digests(tmp_path, kept=kept), digests(tmp_path, **with_import)
    assert digests(tmp_path, kept=kept, **with_import) == edited
    assert digests(tmp_path, kept=kept) == plain
    # Nothing is parsed again, unless the file is damaged.
    with monkeypatch.context() as patch:
        patch.setattr(code.ast, "parse", None)
        assert digests(tmp_path, kept=kept) == plain
    for text in ("[", "[]", kept.read_text().replace('"by": "', '"by": "0').replace("@", "#")):
        kept.write_text(text)
        assert digests(tmp_path, kept=kept) == plain
