"""Scripts as a person at the shell calls them."""

import importlib
import inspect
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from entry import _check_outputs, _outputs, _typed
from support import PAGES, SCRIPTS
from support.processes import run_python
from support.raw_tables import COLUMNS
from support.rules import rules
from tossctr.common.errors import UserError
from tossctr.common.files import Output
from tossctr.config.columns import Columns
from tossctr.config.declared import Runtime
from tossctr.models.feseq.network_settings import ModelConfig


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
            n for n in _outputs(parameters) if parameters[n].default is inspect.Parameter.empty
        }
        assert needed <= {*rule.output.keys()} <= {*_outputs(parameters)}, rule.name


def test_scripts_have_the_options_that_the_pages_give_them() -> None:
    named = set()
    for page in PAGES:
        text = page.read_text().replace("\\\n", "")
        for script, rest in re.findall(r"scripts/(\w+)\.py( --[^\n`#]*)", text):
            options = set(re.findall(r" --(\w+)", rest)) - {"force", "help"}
            assert options <= {*parameters_of(script)}, (page, script)
            named |= options
    assert "output" in named


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (int, "007", 7),
        (list[str], "a", ["a"]),
        (str | Path | Sequence[str], ["s3://a/b"], ["s3://a/b"]),
        (Path, "b", Path("b")),
        (Path | Sequence[Path], ["b", "c"], [Path("b"), Path("c")]),
        (Path | None, [], None),
        (Mapping[str, float] | None, {"a": 1}, {"a": 1}),
        (Columns, COLUMNS.plain("label", "id"), COLUMNS),
        (Runtime | None, {"device": "cpu"}, Runtime(device="cpu")),
    ],
)
def test_values_become_what_annotations_say(kind: Any, value: Any, expected: Any) -> None:
    parameter = inspect.Parameter("given", inspect.Parameter.KEYWORD_ONLY, annotation=kind)
    assert _typed(parameter, value) == expected


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, "many", "'many' is not valid.*integer"),
        (int | None, True, "True is not valid"),
        (dict[str, float], {"len5": "1"}, "is not valid.*len5.*number"),
        (ModelConfig, 7, "must be a mapping, not 7"),
        (ModelConfig, {"head": 3}, "head: .* did you mean 'heads'?"),
        (Runtime, {"device": "gpu", "memory_gib": 0}, "device: .*\n.*memory_gib"),
    ],
)
def test_a_value_of_another_type_is_a_clear_error(kind: Any, value: Any, message: str) -> None:
    parameter = inspect.Parameter("given", inspect.Parameter.KEYWORD_ONLY, annotation=kind)
    with pytest.raises(UserError, match=f"(?m)^given[:.].*{message}"):
        _typed(parameter, value)


def test_a_file_that_exists_is_no_output_unless_it_is_forced(tmp_path: Path) -> None:
    def main(*, output: Output, other: Output | None = None) -> None:
        raise NotImplementedError

    parameters = inspect.signature(main).parameters
    values = {"output": tmp_path / "new", "other": None}
    _check_outputs(values, parameters, force=False)
    (tmp_path / "new").touch()
    with pytest.raises(UserError, match=r"new: exists.*--force"):
        _check_outputs(values, parameters, force=False)
    _check_outputs(values, parameters, force=True)


SCORE = ["score", "--model", "a", "--input", "b", "--output", "c"]


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["score", "--output", "a"], "required: --model, --input"),
        ([*SCORE, "--threads", "0"], "threads: 0 is not valid"),
    ],
)
def test_options_that_are_missing_or_no_count_are_told(arguments: list[str], named: str) -> None:
    done = run_python(SCRIPTS / f"{arguments[0]}.py", *arguments[1:])
    assert done.returncode in (1, 2)
    assert named in (output := done.stderr)
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("fault", "has_traceback"),
    [
        ("MemoryError()", False),
        ("OSError(28, 'No space left on device')", False),
        ("ZeroDivisionError()", True),
    ],
)
def test_the_machine_s_limits_are_no_fault_of_the_code(
    tmp_path: Path, fault: str, has_traceback: bool
) -> None:
    script = tmp_path / "script.py"
    lines = ["from entry import run_script", "def main() -> None:", f"    raise {fault}"]
    script.write_text("\n".join([*lines, "run_script(main)"]))
    done = run_python(script, env=os.environ | {"PYTHONPATH": str(SCRIPTS)})
    assert done.returncode == 1
    assert ("Traceback" in done.stderr) == has_traceback
    assert "ERROR" in done.stderr
