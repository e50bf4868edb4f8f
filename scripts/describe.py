"""Describe the rows of one size before any training: facts, alarms, plots and a page."""

from dataclasses import asdict
from pathlib import Path

from entry import run_script
from feseq.common.files import Output, write_json
from feseq.describe.alarms import warn_of
from feseq.describe.checks import alarms_of
from feseq.describe.facts import describe
from feseq.report.data_page import write_data_page


def main(
    train: list[Path],
    valid: list[Path],
    test: list[Path],
    feature_map: Path,
    size: str,
    scalings: list[str],
    threads: int,
    facts: Output,
    page: Output,
    view: Output,
    plots: list[Output],
) -> None:
    found = describe(train, valid, test, feature_map, size=size, threads=threads)
    alarms = alarms_of(found, scalings)
    write_data_page(found, alarms, plots, page, view)
    write_json(facts, {**found, "alarms": [asdict(alarm) for alarm in alarms]})
    warn_of(alarms, page)


if __name__ == "__main__":
    run_script(main)
