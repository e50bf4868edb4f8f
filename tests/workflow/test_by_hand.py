"""Scripts as a person at the shell calls them."""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from entry import _typed
from feseq.common.errors import UserError
from feseq.config.columns import Columns
from feseq.config.model import ModelConfig
from feseq.config.runtime import Runtime
from support import REPOSITORY, SCRIPTS

RULES = "\n".join(file.read_text() for file in (REPOSITORY / "rules").glob("*.smk"))
STEPS = re.findall(r"^(?:rule|checkpoint) (\w+):(.*?)^    log:", RULES, re.M | re.S)


def run(folder: Path, script: str, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, str(SCRIPTS / script), *arguments, "--directory", str(folder)]
    command += ["--configfile", str(folder / "shop.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("rule", "files"), STEPS, ids=[rule for rule, _ in STEPS])
def test_a_script_names_the_wildcards_of_its_rule(rule: str, files: str) -> None:
    command = re.search(rf"^By hand: python scripts/{rule}\.py(.*)", script(rule), re.M)
    assert command is not None
    outputs = files.split("    output:")[1]
    if "model_plot(" in outputs:
        outputs += "{size}{name}"
    assert set(re.findall(r"--(\w+)", command[1])) == set(re.findall(r"{(\w+)}", outputs))


def script(rule: str) -> str:
    return (SCRIPTS / f"{rule}.py").read_text()


def typed(value: Any, kind: Any) -> Any:
    return _typed(
        inspect.Parameter("given", inspect.Parameter.KEYWORD_ONLY, annotation=kind), value
    )


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("many", int, "'many' is no value of type int"),
        (True, int | None, "True is no value"),
        ("0.1", float, "'0.1' is no value"),
        ("both", Literal["train", "test"], "'both' is no value"),
        ({"len5": "1"}, dict[str, float], "is no value of type dict"),
        ([1], list[str] | None, "is no value"),
        (3, Columns, "no roles of columns"),
        ({"profile": []}, Columns, "no roles of columns"),
        (7, ModelConfig, "7 is no mapping"),
        ({"head": 3}, ModelConfig, "head: .* did you mean 'heads'?"),
        ({"heads": 3}, ModelConfig, "max_len: Field required"),
        ({"device": "gpu", "verbosity": 3}, Runtime, "device: .*\n.*verbosity"),
    ],
)
def test_a_value_of_another_type_is_a_clear_error(value: Any, kind: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"(?m)^given[:.].*{message}"):
        typed(value, kind)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, int | None), (3, float), ({"a": {"len5": 1}}, dict[str, dict[str, float]])],
)
def test_a_sound_value_stays_as_it_is(value: Any, kind: Any) -> None:
    assert typed(value, kind) == value


@pytest.mark.workflow
def test_one_step_runs_with_the_files_and_settings_of_its_rule(copied: Path) -> None:
    part = copied / "results/toy/len20/predictions/part001.parquet"
    before = part.read_bytes()
    part.unlink()
    code, output = run(copied, "predict.py", "--size=toy", "--model", "len20", "--part", "001")
    assert code == 0, output
    assert "1 of 1 steps" in output
    assert part.read_bytes() == before


@pytest.mark.workflow
def test_missing_inputs_are_made_first_and_stale_ones_left(copied: Path) -> None:
    (copied / "data/h5/toy/feature_map.json").unlink()
    (copied / "data/samples/toy.parquet").touch()
    arguments = ("--size", "toy", "--model", "len5", "-n")
    code, output = run(copied, "train.py", *arguments)
    assert code == 0, output
    assert "Fitting the feature map of size toy" in output
    assert "Training len5 on size toy" in output
    assert "Converting" not in output
