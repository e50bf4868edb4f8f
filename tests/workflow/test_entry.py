"""Scripts as a person at the shell calls them."""

import importlib
import inspect
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from entry import _shell_values, output_names
from support import PAGES, SCRIPTS
from support.processes import run_python
from support.rules import rules
from tossctr.common.errors import UserError
from tossctr.common.files import Output
from tossctr.config.declared import Runtime


def parameters_of(script: str) -> Mapping[str, inspect.Parameter]:
    """Those of the function that a script calls."""
    text = (SCRIPTS / f"{script}.py").read_text()
    module = importlib.import_module(script)
    function = getattr(module, re.findall(r"run_script\((\w+)", text)[0])
    return inspect.signature(function).parameters


def test_a_script_calls_a_function_that_takes_what_its_rule_gives() -> None:
    common = {"threads", "runtime", "full_name", "code"}
    for rule in rules().values():
        if rule.script is None:
            continue
        given = {*rule.input.keys(), *rule.output.keys(), *rule.wildcard_names, *common}
        params = {*rule.params.keys()}
        given |= params | {name.partition("_")[0] for name in params}
        parameters = parameters_of(Path(rule.script).stem)
        for name, parameter in parameters.items():
            assert name in given or parameter.default is not parameter.empty, (rule.name, name)
        needed = {
            n for n in output_names(parameters) if parameters[n].default is inspect.Parameter.empty
        }
        assert needed <= {*rule.output.keys()} <= {*output_names(parameters)}, rule.name


def test_scripts_have_the_options_that_the_pages_give_them() -> None:
    named = set()
    for page in PAGES:
        text = page.read_text().replace("\\\n", "")
        for script, rest in re.findall(r"scripts/(\w+)\.py( --[^\n`#]*)", text):
            options = set(re.findall(r" --(\w+)", rest)) - {"force", "help"}
            assert options <= {*parameters_of(script)}, (page, script)
            named |= options
    assert "output" in named


def test_options_become_what_annotations_say_and_a_file_that_exists_is_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def main(
        *, output: Output, part: int, files: list[str], runtime: Runtime, label: str | None = "y"
    ) -> dict[str, Any]:
        return locals()

    def called(*more: str) -> dict[str, Any]:
        options = ["--part", "007", "--files", "a", "--files", "b", "--label", "null", *more]
        options += ["--output", new, "--runtime", '{"device": "cpu"}']
        monkeypatch.setattr(sys, "argv", ["script.py", *options])
        values = _shell_values(main)
        return TypeAdapter(main).validate_python(values)

    new = str(tmp_path / "new")
    given = {"part": 7, "files": ["a", "b"], "runtime": Runtime(device="cpu"), "label": None}
    assert called() == {"output": Path(new), **given}
    Path(new).touch()
    with pytest.raises(UserError, match=r"new: exists.*--force"):
        called()
    assert called("--force")["part"] == 7


@pytest.mark.parametrize(
    ("fault", "count", "has_traceback"),
    [
        ("MemoryError()", "1", False),
        ("OSError(28, 'No space left on device')", "1", False),
        ("ZeroDivisionError()", "1", True),
        ("ZeroDivisionError()", "0", False),
    ],
)
def test_only_a_fault_of_the_code_has_a_traceback(
    tmp_path: Path, fault: str, count: str, has_traceback: bool
) -> None:
    script = tmp_path / "script.py"
    lines = ["from pydantic import PositiveInt", "from entry import run_script"]
    lines += ["def main(*, count: PositiveInt) -> None:", f"    raise {fault}"]
    script.write_text("\n".join([*lines, "run_script(main)"]))
    done = run_python(script, "--count", count, env=os.environ | {"PYTHONPATH": str(SCRIPTS)})
    assert done.returncode == 1
    assert ("Traceback" in done.stderr) == has_traceback
    assert "ERROR" in done.stderr
