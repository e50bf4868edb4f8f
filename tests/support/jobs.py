"""Trainings of any kind on the files of a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tossctr.catalog.model_kinds import MODEL_KINDS
from tossctr.config.declared import Runtime
from tossctr.models.job import TrainJob

OUTPUTS = {"model": "model.safetensors", "history": "history.csv", "training": "training.json"}


def make_job(
    data: Path,
    out: Path,
    settings: Mapping[str, Mapping[str, Any]],
    *,
    refit_of: Path | None = None,
    feature_map: Path | None = None,
    code: str = "",
    **runtime: Any,
) -> TrainJob:
    """The job of a training, or of the refit of one, by its training.json.

    `data` has the files of the train and validation rows, in one part or several.
    """
    return TrainJob(
        train=sorted(data.glob("train*.h5")),
        valid=sorted(data.glob("valid*.h5")),
        feature_map=feature_map or data / "feature_map.json",
        settings=settings,
        refit_of=refit_of,
        first_model=refit_of and refit_of.with_name("model.safetensors"),
        full_name="",
        runtime=Runtime(**{"device": "cpu"} | runtime),
        threads=settings.get("train", {}).get("gpus", 1),
        code=code,
        **{name: out / file for name, file in OUTPUTS.items()},
    )


def run_job(
    data: Path, out: Path, settings: Mapping[str, Mapping[str, Any]], **options: Any
) -> dict[str, Path]:
    """The output files of such a job."""
    kind = MODEL_KINDS["boosting" if "boosting" in settings else "feseq"]
    kind.entry_point("train")(make_job(data, out, settings, **options))
    return {name: out / file for name, file in OUTPUTS.items()}
