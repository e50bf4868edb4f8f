"""The pages tell the truth; conda environments hold what is imported in them, as pip's does."""

import ast
import re
import sys
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path

import yaml
from packaging.requirements import Requirement

from support import PAGES, REPOSITORY, SCRIPTS
from support.rules import rules
from tossctr.catalog.model_kinds import MODEL_KINDS
from tossctr.staleness import CodeDigests


def commands(readme: str) -> set[str]:
    """The indented lines that a user types, without remarks."""
    text = (REPOSITORY / readme).read_text()
    lines = re.findall(r"^    ((?:make|snakemake|python|source|data/raw)\b.*)", text, re.M)
    return {line.split("#")[0].strip() for line in lines}


def links(page: str) -> set[str]:
    return set(re.findall(r"\]\(([^)]+)\)", (REPOSITORY / page).read_text()))


def test_commands_of_the_readme_exist_and_the_korean_one_has_the_same_and_the_same_links() -> None:
    typed = commands("README.md")
    made = {line.split()[1] for line in typed if line.startswith("make ")}
    targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.M)
    assert {"run", "test"} <= made <= set(targets)
    assert commands("README.ko.md") == typed
    assert links("README.ko.md") - {"README.md"} == links("README.md") - {"README.ko.md"}


def headings(file: Path) -> set[str]:
    """Anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)", file.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_and_paths_in_the_pages_lead_somewhere() -> None:
    assert len(PAGES) > 10
    folders = "scripts|rules|config|envs|profiles|docs|tests|benchmarks"
    for page in PAGES:
        for link in links(str(page.relative_to(REPOSITORY))):
            path, _, heading = link.partition("#")
            if link.startswith("https://"):
                continue
            target = (page.parent / path).resolve()
            assert target.exists(), (page, link)
            file = target / "README.md" if target.is_dir() else target
            assert not heading or heading in headings(file), (page, link)
        if page.name != "CHANGELOG.md":
            for path in re.findall(rf"(?<![\w/.])((?:{folders})/[\w/.-]*\w)", page.read_text()):
                assert (REPOSITORY / path).exists(), (page, path)


# Names of conda's packages where a module, or pip's package, has another.
CONDA_NAME = {
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "snakemake": "snakemake-minimal",
    "xgboost": "py-xgboost",
    "xgboost-cpu": "py-xgboost",
    "xxhash": "python-xxhash",
    "duckdb": "python-duckdb",
}
# What a package needs for a part that is used here: reports, exports.
BEHIND = {"snakemake.utils": "pygments", "torch.onnx": "onnxscript"}


# Version by package, of each conda environment by its name.
ENVIRONMENTS: dict[str, dict[str, str]] = {
    file.stem: dict(line.split(" ", 1) for line in yaml.safe_load(file.read_text())["dependencies"])
    for file in (REPOSITORY / "envs").glob("*.yaml")
}


@cache
def imports(code: str | bytes) -> set[str]:
    """Dotted names that Python code imports, inside functions too; relative imports aside."""
    modules = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return modules


def imports_of_the_workflow() -> set[str]:
    """The same of Snakefile and rules, which are not quite Python."""
    files = (REPOSITORY / "Snakefile", *(REPOSITORY / "rules").glob("*.smk"))
    statement = r"^[ \t]*((?:from [\w.]+ )?import (?:\([^)]*\)|.*))$"
    return imports("\n".join(re.findall(statement, "\n".join(f.read_text() for f in files), re.M)))


def file_of(module: str) -> str:
    return f"{module.replace('.', '/')}.py"


def files_by_environment() -> dict[str, set[str]]:
    """The scripts and modules that an environment's jobs begin with.

    Scripts of models are in the environments of all kinds, and so are a kind's entry points in
    its own; a search and scores have entry points of all kinds.
    """
    files = defaultdict(set, {"workflow": {*map(file_of, imports_of_the_workflow())}})
    for rule in rules().values():
        if rule.script is not None:
            own = {each.environment for each in MODEL_KINDS.values()}
            for env in own if callable(rule.conda_env) else {rule.conda_env}:
                files[Path(env).stem] |= {"entry.py", Path(rule.script).name}
    for kind in MODEL_KINDS.values():
        for name, module in kind.entry_points.items():
            own = kind.environment
            envs = {"export": ["export"], "trial_runner": ["tune"], "load": ["score", own]}
            for env in envs.get(name, [own]):
                files[env].add(file_of(f"{kind.package}.{module}"))
    return files


def test_environments_hold_what_is_imported_in_them_and_no_more() -> None:
    code, files = CodeDigests(SCRIPTS), files_by_environment()
    assert {*ENVIRONMENTS} == {*files}
    for env, packages in ENVIRONMENTS.items():
        reached = code.with_imports(*filter(code.texts.__contains__, files[env]))
        names = set().union(*(imports(code.texts[file]) for file in reached))
        names |= imports_of_the_workflow() if env == "workflow" else set()
        modules = {name.split(".")[0] for name in names}
        modules -= {"tossctr", "entry", *sys.stdlib_module_names}
        modules |= {module for name, module in BEHIND.items() if name in names}
        needed = {CONDA_NAME.get(name, name) for name in modules}
        assert {*packages} == needed | {"python"}, env


def test_environments_have_the_versions_of_the_requirements() -> None:
    lines = (REPOSITORY / "envs/requirements.txt").read_text().splitlines()
    pins = dict(re.split("(?===|>=)", line, maxsplit=1) for line in lines if line[:1].isalpha())
    required = {CONDA_NAME.get(name, name): pin.replace("==", "=") for name, pin in pins.items()}
    pinned = {pair for packages in ENVIRONMENTS.values() for pair in packages.items()}
    assert pinned == {*required.items(), ("python", "=3.11")}
    # What pip installs for the scorer may be of these versions.
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    scorer = [*map(Requirement, project["dependencies"])]
    for wanted in scorer:
        assert pins[wanted.name].removeprefix("==") in wanted.specifier
    # The extra is what scoring needs beside these.
    extra = (REPOSITORY / "envs/requirements-blend.txt").read_text().splitlines()
    assert {*extra[1:]} <= {*lines}
    names = {re.split("==|>=", line)[0] for line in extra if line[:1].isalpha()}
    blend = {CONDA_NAME.get(name, name) for name in names.union(each.name for each in scorer)}
    assert blend == {*ENVIRONMENTS["score"]} - {"python"} | {"onnxruntime"}
