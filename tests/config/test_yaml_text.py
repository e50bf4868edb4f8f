"""What YAML would drop or change without a word is named with its line; the rest is left alone."""

from pathlib import Path

import pytest

from feseq.config.check import text_mistakes


def found(folder: Path, text: str) -> list[str]:
    file = folder / "mine.yaml"
    file.write_text(text)
    return [line.removeprefix(f"{file}, ") for line in text_mistakes([file])]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: key 'a' stands in line 1 too; keep one"),
        ("a:\n  - {b: 1, b: 1}\n", "line 2: key 'b' stands in line 2 too; keep one"),
        ('{\n\t"a": {"b": 1,\n\t"b": 2}}', "line 3: key 'b' stands in line 2 too; keep one"),
        ("a:\n  seed: 010\n", "line 2: YAML reads 010 as 8; "),
        ("a: -0_17", "line 1: YAML reads -0_17 as -15; "),
        ("# x\na: [1:30]", "line 2: YAML reads 1:30 as 90; "),
        ("a: 1:30.5", "line 1: YAML reads 1:30.5 as 90.5; "),
        ("010: a", "line 1: YAML reads 010 as 8; "),
    ],
)
def test_a_trap_is_named_with_its_line(tmp_path: Path, text: str, line: str) -> None:
    (only,) = found(tmp_path, text)
    assert only.startswith(line)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: 0\nb: -0\nc: 10\nd: 1_000\ne: 0.10\nf: 1.0e-3\n",
        "a: '010'\nb: \"1:30\"\nc: 09\nd: a:1\nf: 0:30\ne: s3://b/k\n",
        "a: {c: 1}\nb: {c: 1}\n",
        "a: &x {c: 1}\nb: *x\nc:\n  <<: *x\n  d: 1\n",
    ],
)
def test_sound_text_passes(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, text) == []
