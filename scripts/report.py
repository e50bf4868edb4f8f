"""Report how good one model is on the validation rows, as Markdown and JSON.

By hand: python scripts/report.py --predictions valid_predictions.parquet --metrics metrics.json
             --truth train_truth.parquet --report report.md --evaluation evaluation.json
"""

from pathlib import Path

from door import enter
from feseq.report import write_report


def main(
    *,
    predictions: Path,
    metrics: Path,
    truth: Path | None = None,
    report: Path,
    evaluation: Path,
) -> None:
    write_report(predictions, metrics, truth, report, evaluation)


if __name__ == "__main__":
    enter(main, globals().get("snakemake"))
