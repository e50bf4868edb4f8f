"""A conda environment holds what is imported in it, no more, at the versions of the pip one."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from feseq.families import FAMILIES, families
from feseq.staleness import Code
from support import REPOSITORY, SCRIPTS
from support.rules import rules

WORKFLOW = "\n".join(
    file.read_text() for file in (REPOSITORY / "Snakefile", *(REPOSITORY / "rules").glob("*.smk"))
)
# Where a package has another name than its module, and where conda has another than pip.
PACKAGE_OF = {
    "torch": "pytorch",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "xgboost": "py-xgboost",
}
CONDA_NAME = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "snakemake": "snakemake-minimal",
    "xgboost-cpu": "py-xgboost",
}
CONDA_NAME |= {"xxhash": "python-xxhash", "duckdb": "python-duckdb"}
# What a package needs for a part that is used here: event files, reports.
BEHIND = {"torch.utils.tensorboard": "tensorboard", "snakemake.utils": "pygments"}
BEHIND |= {"torch.onnx": "onnxscript"}
# Reached by import and never called: the trainings of a search write no event files.
UNUSED = {"tune": {"tensorboard"}}


def environments() -> dict[str, dict[str, str]]:
    """Version by package, of each conda environment by its name."""
    found = {}
    for file in (REPOSITORY / "envs").glob("*.yaml"):
        lines = yaml.safe_load(file.read_text())["dependencies"]
        found[file.stem] = dict(line.split(" ", 1) for line in lines)
        assert len(found[file.stem]) == len(lines), f"a package twice in {file}"
    return found


def imports(code: str | bytes) -> set[str]:
    """Dotted names that Python code imports, inside functions too; relative imports aside."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def imports_of_the_workflow() -> set[str]:
    """The same of Snakefile and rules, which are not quite Python."""
    statement = r"^[ \t]*((?:from [\w.]+ )?import (?:\([^)]*\)|.*))$"
    return imports("\n".join(re.findall(statement, WORKFLOW, re.M)))


def imported_in(env: str) -> set[str]:
    """Dotted names imported in an environment, by its jobs or through the library."""
    text = WORKFLOW if env == "workflow" else (SCRIPTS / "entry.py").read_text()
    names = imports_of_the_workflow() if env == "workflow" else imports(text)
    # What is imported inside of functions, at the shell alone, does not count.
    starts = set(re.findall(r"^from (feseq[\w.]*) import", text, re.M))
    starts |= {f"feseq.{module}" for module in (*VERBS.get(env, ()), *MODULES_OF.get(env, ()))}
    files = CODE.reached(*(f"{module.replace('.', '/')}.py" for module in starts))
    return names.union(*(imports(CODE.texts[file]) for file in files))


def modules_of_environments() -> dict[str, set[str]]:
    """Modules by environment; those of models are in the environments of all families."""
    modules: dict[str, set[str]] = {}
    for rule in rules().values():
        if rule.script is not None:
            env = rule.conda_env
            own = {family.environment for family in families()} if callable(env) else {env}
            for each in own:
                modules.setdefault(Path(each).stem, set()).add(rule.params[0].rpartition(".")[0])
    return modules


def mistakes(env: str, packages: set[str]) -> set[str]:
    """Packages of an environment too few and too many for what is imported in it."""
    names = imported_in(env)
    third_party = {name.split(".")[0] for name in names} - {"feseq"}
    modules = third_party - set(sys.stdlib_module_names)
    modules |= {module for name, module in BEHIND.items() if name in names} - UNUSED.get(env, set())
    needed = {PACKAGE_OF.get(name, CONDA_NAME.get(name, name)) for name in modules} | {"python"}
    missing = {f"{name} is missing" for name in needed - packages}
    return missing | {f"{name} is not needed" for name in packages - needed}


ENVIRONMENTS = environments()
CODE = Code(SCRIPTS)
# The verbs that run in an environment; a search and scores have those of all families.
VERBS: dict[str, list[str]] = {"tune": [], "score": []}
for each in families():
    others = dict(each.verbs)
    VERBS["score"].append(others["load"])
    VERBS["tune"] += [others.pop("trials")] if "trials" in others else []
    VERBS.setdefault(each.environment, []).extend(others.values())
VERBS["workflow"] = [f"{folder}.family" for _, folder in FAMILIES.values()]
MODULES_OF = modules_of_environments()


def test_every_environment_is_used() -> None:
    assert set(ENVIRONMENTS) == {*MODULES_OF, "workflow"}


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_an_environment_holds_what_is_imported_in_it_and_no_more(env: str) -> None:
    assert mistakes(env, set(ENVIRONMENTS[env])) == set()


def test_environments_have_the_versions_of_the_requirements() -> None:
    lines = (REPOSITORY / "envs/requirements.txt").read_text().splitlines()
    pins = dict(re.split("(?===|>=)", line, maxsplit=1) for line in lines if line[:1].isalpha())
    required = {CONDA_NAME.get(name, name): pin.replace("==", "=") for name, pin in pins.items()}
    found = {pair for packages in ENVIRONMENTS.values() for pair in packages.items()}
    assert found == {*required.items(), ("python", "=3.11")}


def test_the_page_about_conda_lists_the_packages() -> None:
    text = (REPOSITORY / "docs/conda.md").read_text()
    listed = dict(re.findall(r"^\| `envs/(\w+)\.yaml` \| (.*?) \|", text, re.M))
    everywhere = {"python", "numpy", "numba", "h5py", "python-xxhash"}
    others = {env: set(ENVIRONMENTS[env]) - everywhere for env in MODULES_OF}
    assert {env: set(names.split(", ")) for env, names in listed.items()} == others


def test_pip_installs_the_scorer_with_the_versions_of_the_tests_or_others() -> None:
    lines = (REPOSITORY / "envs/requirements.txt").read_text().splitlines()
    tested = {one.name: one for one in map(Requirement, (n for n in lines if n[:1].isalpha()))}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for wanted in map(Requirement, project["dependencies"]):
        (pin,) = tested[wanted.name].specifier
        assert pin.version in wanted.specifier


def test_environments_come_from_conda_forge_and_snakemake_from_bioconda() -> None:
    for env in ENVIRONMENTS:
        channels = yaml.safe_load((REPOSITORY / f"envs/{env}.yaml").read_text())["channels"]
        home = ["bioconda"] if env == "workflow" else []
        assert channels == ["conda-forge", *home, "nodefaults"]
