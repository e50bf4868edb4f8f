"""The pages tell the truth: commands exist, links resolve."""

import re
import subprocess
from pathlib import Path

from support import PAGES, REPOSITORY


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


def test_the_newest_version_has_release_notes() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    version = re.findall(r"^## (\d\S*)", text, re.M)[0]
    # Fails if pyproject.toml or CITATION.cff have another version.
    command = [REPOSITORY / ".ci/release-notes", f"v{version}"]
    notes = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert notes.startswith("\n- ")
    assert "\n## " not in notes
    assert notes.strip() in text
    assert subprocess.run([*command[:1], "v99"], capture_output=True, check=False).returncode == 1


def test_paths_in_the_pages_exist() -> None:
    folders = "scripts|rules|config|envs|profiles|docs|tests|benchmarks"
    for page in PAGES:
        if page.name != "CHANGELOG.md":
            for path in re.findall(rf"(?<![\w/.])((?:{folders})/[\w/.-]*\w)", page.read_text()):
                assert (REPOSITORY / path).exists(), (page, path)
