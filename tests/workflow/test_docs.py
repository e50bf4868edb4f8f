"""The pages tell the truth: commands exist, links resolve, keys are explained."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from support import REPOSITORY

PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("[a-z]*/*.md")]
SCHEMA = yaml.safe_load((REPOSITORY / "config/config.schema.yaml").read_text())


# Keys of `model` and `train` that a size or a variant overrides.
OVERLAYS = tuple(
    f"{place}.{block}"
    for place in ("sizes.<size>", "variants.<variant>")
    for block in ("model", "train")
)


def keys(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if "$ref" in schema:
        schema = {**SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]], **schema}
    children = dict(schema.get("properties", {}))
    if path == "sizes":
        # The three sizes have the same keys.
        children = {"<size>": children["toy"]}
    if path == "columns.groups":
        children = {"<group>": schema["additionalProperties"]}
    if path == "variants":
        children = {"<variant>": schema["additionalProperties"]}
    if path in (*OVERLAYS, "train.monitor"):
        children = {}
    for name, child in children.items():
        yield from keys(child, f"{path}.{name}".lstrip("."))
    if not children:
        yield path, schema


def test_every_config_key_is_explained() -> None:
    readme = (REPOSITORY / "config/README.md").read_text()
    paths = [path for path, _ in keys(SCHEMA)]
    assert len(paths) > 40
    assert [path for path in paths if f"`{path}`" not in readme] == []


def test_every_explained_key_exists() -> None:
    readme = (REPOSITORY / "config/README.md").read_text()
    explained = re.findall(r"`([a-z_]+(?:\.[a-z_<>]+)+)`", readme)
    known = {path for path, _ in keys(SCHEMA)}
    files = {"config.yaml", "config.schema.yaml"}
    assert [key for key in explained if key not in known | files] == []


def test_every_schema_key_has_a_description_and_is_closed() -> None:
    for path, schema in keys(SCHEMA):
        if path not in OVERLAYS:
            assert schema.get("description"), path
    blocks = [SCHEMA, *SCHEMA["$defs"].values(), *SCHEMA["properties"].values()]
    for block in blocks:
        # Names that the user gives are free, what is under them is not.
        free = block.get("additionalProperties")
        assert (
            "type" not in block
            or (free or {"additionalProperties": free})["additionalProperties"] is False
        )


def test_make_targets_of_the_readme_exist() -> None:
    commands = re.findall(r"^    make ([\w-]+)", (REPOSITORY / "README.md").read_text(), re.M)
    targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.M)
    assert {"run", "test"} <= set(commands) <= set(targets)


def commands(readme: str) -> set[str]:
    """The indented lines that a user types, without remarks."""
    text = (REPOSITORY / readme).read_text()
    lines = re.findall(r"^    ((?:make|snakemake|python|source|data/raw)\b.*)", text, re.M)
    return {line.split("#")[0].strip() for line in lines}


def links(page: str) -> set[str]:
    return set(re.findall(r"\]\(([^)]+)\)", (REPOSITORY / page).read_text()))


def test_the_korean_readme_has_the_commands_and_links_of_the_english_one() -> None:
    assert len(commands("README.md")) > 8
    assert commands("README.ko.md") == commands("README.md")
    assert links("README.ko.md") - {"README.md"} == links("README.md") - {"README.ko.md"}


def test_links_in_the_pages_lead_somewhere() -> None:
    assert len(PAGES) > 10
    for page in PAGES:
        for link in links(str(page.relative_to(REPOSITORY))):
            path, _, heading = link.partition("#")
            if link.startswith("https://"):
                continue
            target = (page.parent / path).resolve()
            assert target.exists(), (page, link)
            file = target / "README.md" if target.is_dir() else target
            assert not heading or heading in headings(file), (page, link)


def headings(file: Path) -> set[str]:
    """Anchors of a page, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)", file.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


def test_paths_in_the_pages_exist() -> None:
    folders = "scripts|rules|config|envs|profiles|docs|tests|benchmarks"
    for page in PAGES:
        if page.name != "CHANGELOG.md":
            for path in re.findall(rf"(?<![\w/.])((?:{folders})/[\w/.-]*\w)", page.read_text()):
                assert (REPOSITORY / path).exists(), (page, path)


def test_every_rule_has_a_script_of_its_name_and_the_reverse() -> None:
    rules = re.findall(
        r"^(?:rule|checkpoint) (\w+):",
        "\n".join(file.read_text() for file in (REPOSITORY / "rules").glob("*.smk")),
        re.M,
    )
    scripts = {file.stem for file in (REPOSITORY / "scripts").glob("*.py")} - {"door", "plan"}
    assert set(rules) == scripts
