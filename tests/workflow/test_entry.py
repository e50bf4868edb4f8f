"""Scripts as a person at the shell calls them."""

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from entry import _check_apart, _check_new, _outputs, _shell_values, _typed
from feseq.common.errors import UserError
from feseq.common.files import Output
from feseq.config.columns import Columns
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from feseq.config.train import TrainConfig
from support import PAGES, REPOSITORY, SCRIPTS
from support.raw_tables import COLUMNS
from support.rules import rules


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
        assert {*_outputs(parameters)} == {*rule.output.keys()}, rule.name


def test_scripts_have_the_options_and_settings_that_the_pages_give_them() -> None:
    for page in PAGES:
        for script, rest in re.findall(r"scripts/(\w+)\.py( --[^\n`#]*)", page.read_text()):
            options = set(re.findall(r" --(\w+)", rest)) - {"force", "help"}
            assert options <= {*parameters_of(script)}, (page, script)
    text = (REPOSITORY / "docs/several-gpus.md").read_text()
    (settings,) = re.findall(r"SETTINGS='(.*?)'", text, re.S)
    blocks = json.loads(settings)
    ModelConfig.from_values(blocks["model"], "model")
    train = TrainConfig.from_values(blocks["train"], "train")
    assert (train.gpus, train.nodes) == (4, 2)


def typed(kind: Any, value: Any) -> Any:
    parameter = inspect.Parameter("given", inspect.Parameter.KEYWORD_ONLY, annotation=kind)
    return _typed(parameter, value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (int, "007", 7),
        (list[str], "a", ["a"]),
        (Path | Sequence[Path], ["b", "c"], [Path("b"), Path("c")]),
        (Path | None, [], None),
        (Mapping[str, float] | None, {"a": 1}, {"a": 1}),
        (Columns, COLUMNS.plain("label", "id"), COLUMNS),
    ],
)
def test_values_become_what_annotations_say(kind: Any, value: Any, expected: Any) -> None:
    assert typed(kind, value) == expected


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, "many", "'many' is no value.*integer"),
        (int | None, True, "True is no value"),
        (dict[str, float], {"len5": "1"}, "is no value.*len5.*number"),
        (str, "", "is empty"),
        (ModelConfig, 7, "7 is no mapping"),
        (ModelConfig, {"head": 3}, "head: .* did you mean 'heads'?"),
        (Runtime, {"device": "gpu", "verbosity": 3}, "device: .*\n.*verbosity"),
    ],
)
def test_a_value_of_another_type_is_a_clear_error(kind: Any, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"(?m)^given[:.].*{message}"):
        typed(kind, value)


def test_a_file_is_named_once(tmp_path: Path) -> None:
    def main(
        *, input: list[str], output: Output, other: Output, id_column: str, code: Sequence[str] = ()
    ) -> None:
        raise NotImplementedError

    table, link = tmp_path / "in/rows.parquet", tmp_path / "link.parquet"
    table.parent.mkdir()
    table.write_text("rows")
    link.symlink_to(table)
    os.mkfifo(tmp_path / "pipe")
    sound = {"input": [str(table)], "output": tmp_path / "new", "other": tmp_path / "other"}
    sound |= {"id_column": str(table), "code": []}
    parameters = inspect.signature(main).parameters
    _check_apart(sound, parameters)
    same = (tmp_path / "in", tmp_path / "in/*.parquet", table.as_uri(), table)
    for given, named in (
        *(({"other": path}, "--other") for path in (tmp_path, tmp_path / "pipe")),
        *(({"input": [str(path)], "output": link}, "--input and --output") for path in same),
        ({"input": []}, "--input: is empty"),
        ({"other": tmp_path / "in/../new"}, "--output and --other"),
        ({"input": [str(table), str(link)]}, "--input and --input"),
    ):
        with pytest.raises(UserError, match=named):
            _check_apart(sound | given, parameters)


def shell_values(patch: pytest.MonkeyPatch, *more: str) -> dict[str, Any]:
    """What a script is given at the shell."""

    def main(*, input: list[str], output: Output, column: str, runtime: Runtime) -> None:
        raise NotImplementedError

    arguments = ["--input", "~/a", "b~", "--output=~/c", "--column=~/d", "--runtime", "[" * 10**5]
    patch.setattr(sys, "argv", ["script.py", *arguments, *more])
    patch.setenv("HOME", "/home/me")
    return _shell_values(inspect.signature(main).parameters)


def test_a_path_at_the_shell_may_begin_with_the_home_folder_and_must_be_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {"input": ["/home/me/a", "b~"], "output": "/home/me/c"}
    others = {"column": "~/d", "runtime": "[" * 10**5, "force": False}
    assert shell_values(monkeypatch) == {**paths, **others}
    for argument, named in (
        ("--output=~no-such-user/c", "~no-such-user/c"),
        ("--output=a\udcff", "UTF-8"),
        ("--input=", "is empty"),
    ):
        with pytest.raises(SystemExit):
            shell_values(monkeypatch, argument)
        assert named in capsys.readouterr().err


def test_what_exists_is_no_output(tmp_path: Path) -> None:
    new, table, folder = (tmp_path / name for name in ("new", "table", "folder"))
    table.write_text("rows")
    folder.mkdir()
    _check_new({"input": table, "output": new, "plots": [new]}, ["output", "plots"])
    for values in ({"output": table}, {"output": folder}, {"output": [new, table]}):
        with pytest.raises(UserError, match=r"exists.*--force"):
            _check_new(values, ["output"])
        _check_new(values, ["output"], force=True)
    # Before hours of work.
    for path in (table / "new", tmp_path / ("n" * 250)):
        with pytest.raises(UserError, match="--output"):
            _check_new({"output": path}, ["output"], force=True)


FAULTY = """
from entry import run_script
def main() -> None:
    raise {}
run_script(main, at_shell=True)
"""


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("script", "named"),
    [
        ("score --output a", "required: --model, --input"),
        ("score --threads 0", "'0' is no number from 1 to"),
        ("score --part_rows -1", "'-1' is no number from 1 to"),
        ("score --output a --output b", "--output: is given twice"),
        ("score --model=-- --input b --output c", "--model: is empty"),
        ("describe", "describe.py is run by Snakemake"),
        # The machine's limits are no fault of the code.
        (FAULTY.format("MemoryError()"), "ERROR"),
        (FAULTY.format('RuntimeError("can\'t start new thread")'), "ERROR"),
        (FAULTY.format("OSError(28, 'No space left on device')"), "ERROR"),
        (FAULTY.format("ZeroDivisionError()"), "Traceback"),
    ],
)
def test_a_call_that_cannot_be_is_told_without_a_traceback(
    tmp_path: Path, script: str, named: str
) -> None:
    name, *arguments = script.split()
    call = [sys.executable, SCRIPTS / f"{name}.py", *arguments]
    if script.startswith("\n"):
        call = [sys.executable, tmp_path / "faulty.py"]
        call[1].write_text(script)
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert named in done.stderr
    assert ("Traceback" in done.stderr) == (named == "Traceback")
