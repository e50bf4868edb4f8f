"""What a dry run plans, and what the table of rules/README.md says that a change makes stale."""

import re
from collections.abc import Iterator

from support import REPOSITORY

# How a dry run names each rule's jobs.
MESSAGES = {
    "Drawing the rows": "sample",
    r"Converting part \d+ of the train": "convert_train",
    "Listing the parts": "list_test",
    r"Converting part \d+ of the test": "convert_test",
    "Fitting": "fit_feature_map",
    "Describing": "describe",
    "Training": "train",
    "Predicting the validation": "evaluate",
    "Measuring": "measure",
    "Predicting part": "predict",
    "Writing the submission": "submit",
}


def planned(output: str) -> dict[str, str]:
    """For each rule of a dry run, the sizes of its jobs, or `once`."""
    jobs: dict[str, set[str]] = {}
    for message in re.findall(r"^Job \d+: (.*)", output, re.M):
        rule = next(rule for start, rule in MESSAGES.items() if re.match(start, message))
        size = re.search(r"size (\w+)", message)
        jobs.setdefault(rule, set()).add(size[1] if size else "once")
    return {
        rule: "all" if len(sizes) == 3 else ", ".join(sorted(sizes)) for rule, sizes in jobs.items()
    }


def documented() -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of the table in rules/README.md: the change, and what it makes stale."""
    lines = (REPOSITORY / "rules/README.md").read_text().splitlines()
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"
    ]
    assert header[1:] == list(MESSAGES.values())
    for change, *cells in rows:
        yield change, {rule: cell for rule, cell in zip(header[1:], cells) if cell}
