"""Digests of a job's code and of all that its outputs depend on; if one changes, the job reruns."""

from collections.abc import Iterable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

from ..common.errors import UserError
from ..config.columns import Columns
from ..config.declared import fields_of
from ..config.names import BASELINES, BLEND
from ..models.base import size_settings
from ..raw.location import TableLocation, table_locations
from ..raw.raw_files import RawFiles
from ..staleness import CodeDigests, digest, setting_params, untracked_params
from .model_kinds import (
    check_job,
    is_model,
    kind_of,
    settings_classes,
    submission_models,
    submission_weights,
)
from .schema import sampling_of, table_score

# The entry point of a model kind that each script runs.
ENTRY_POINTS = {"train": "train", "tune": "trial_runner", "export": "export"}
ENTRY_POINTS |= dict.fromkeys(("predict_valid", "predict", "importance", "score"), "load")
# This setting changes a training only by rounding, dropout and batch norms (docs/several-gpus.md).
ROUNDING_KEY = "gpus"

# The size and the name of a model, a baseline or the blend.
Job = tuple[str, str]


class WorkflowDigests:
    """Digests of the code, settings and files that a workflow's results depend on."""

    def __init__(
        self, config: Mapping[str, Any], raw: RawFiles, columns: Columns, code: CodeDigests
    ):
        self.config, self.raw, self.columns = config, raw, columns
        self._code = cache(code.digest)

    def code_digest(self, script: str, model: str = "") -> str:
        """One digest for a script's code and the code that the script runs for `model`'s kind."""
        has_entry_point = model and script in ENTRY_POINTS
        modules = [kind_of(model).module_of(ENTRY_POINTS[script])] if has_entry_point else []
        return self._code(script, *modules)

    def model_params(self) -> dict[str, Any]:
        """Snakemake params, functions of wildcards: all settings of the job's model."""

        def value(block: str, key: str, wildcards: Any) -> Any:
            kind = kind_of(wildcards.model)
            values = kind.settings(self.config, wildcards.size, wildcards.model)
            return values.get(block, {}).get(key, ...)

        values = {
            f"settings.{block}.{key}": partial(value, block, key)
            for block, declared in settings_classes().items()
            for key in fields_of(declared)
        }
        rounding = {n: values.pop(n) for n in [*values] if n.endswith(f".{ROUNDING_KEY}")}
        return setting_params(**values) | untracked_params(**rounding)

    def prediction_code(self, size: str) -> dict[str, str]:
        """The digest of the code that predicts, for each submission model of a size, by name."""
        return {
            name: self.code_digest("predict", name) for name in submission_models(self.config, size)
        }

    def dependency_digest(
        self, jobs: Iterable[Job], scripts: Iterable[str] = (), test: bool = False
    ) -> str:
        """The digest of everything that a final file, such as a submission, depends on.

        The file is made from the models, baselines or blends in `jobs`, by `scripts` and the
        training scripts; with `test`, also from the test table. Snakemake removes the outputs of a
        failed step, but would not rebuild them while an older final file exists. A changed digest
        makes Snakemake rebuild them.
        """
        config, jobs = self.config, list(jobs)
        for size in [size for size, name in jobs if name == BLEND]:
            jobs += [(size, model) for model in submission_models(config, size)]
        trained = {
            f"{size}/{model}": {
                block: {key: value for key, value in keys.items() if key != ROUNDING_KEY}
                for block, keys in kind_of(model).settings(config, size, model).items()
            }
            for size, model in jobs
            if is_model(model)
        }
        names = {name for _, name in jobs}
        is_needed = {
            "simulate": self.raw.is_simulated,
            "train": trained,
            "fit_baseline": names & {*BASELINES},
            **dict.fromkeys(("predict_valid", "blend"), BLEND in names),
        }
        scripts = ["sample", "convert_train", "fit_feature_map", *scripts]
        scripts += [script for script, needed in is_needed.items() if needed]
        models = [*filter(is_model, names)] or [""]
        sizes = {size: size_settings(config, size) for size, _ in jobs}
        simulation = dict(config["table"]["simulation"] or {"test_rows": 0})
        if not test:
            simulation.pop("test_rows")
        submits = BLEND in names or (test and trained)
        return digest(
            [
                sorted({self.code_digest(script, model) for script in scripts for model in models}),
                [self.raw.version(self.raw.train), self.raw.version(self.raw.test) if test else 0],
                simulation if self.raw.is_simulated else None,
                [self.columns.to_dict("label", "id", "shared", "ids"), config["parts"]],
                sampling_of(config),
                {size: [keys["rows"], keys["min_count"]] for size, keys in sizes.items()},
                trained,
                # Blends and submissions also depend on these settings.
                [table_score(config).metric, config["submission"]["refit"]] if submits else None,
            ]
        )


class ScoreInputs(NamedTuple):
    """What determines a file of scores: tables to score (`files`), and `models` of one `size`.

    `weights` are the models' weights in the mean of the logits; None: fitted to validation rows.
    """

    files: list[TableLocation]
    size: str
    models: list[str]
    weights: list[float] | None

    @property
    def jobs(self) -> list[Job]:
        """Size and name of each model or, if the weights are fitted, of the blend."""
        return [(self.size, name) for name in (self.models if self.weights else [BLEND])]


def score_inputs(config: Mapping[str, Any], columns: Columns, path: str) -> ScoreInputs:
    """The tables and models that results/scores/{path}.parquet is made from.

    `path` is {name}, {size}/{name} or {size}/{model}/{name}. The block `scores` of the config has
    the tables of each {name}. Raises UserError for an unknown name, size or model.
    """
    *folders, name = path.split("/")
    size, *models = folders or ["full"]
    for model in models:
        check_job(config, columns, {"size": size, "model": model})
    if name not in config["scores"]:
        raise UserError(
            f"the config's `scores` has no entry {name!r}; entries: "
            f"{', '.join(config['scores']) or 'none'}. Add `{name}: <file>` to it"
        )
    configured = config["scores"][name]
    files = table_locations(
        [configured] if isinstance(configured, str) else configured,
        config["table"]["raw"]["delimiter"],
    )
    weights = dict.fromkeys(models, 1.0) or submission_weights(config, size)
    models = models or submission_models(config, size)
    return ScoreInputs(files, size, models, None if weights is None else [*weights.values()])
