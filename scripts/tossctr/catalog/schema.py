"""The config: its blocks and keys, and the settings that sizes and variants may override."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, Field, create_model, model_validator

from ..config.columns import SEPARATORS, Separator
from ..config.declared import (
    AS_WRITTEN,
    CLOSED,
    NOT_SEARCHED,
    Delimiter,
    Runtime,
    Seed,
    SettingsBlock,
    all_optional,
    settable_fields,
    validation_errors,
)
from ..config.names import BASELINES, Baseline, Prior
from ..models.feseq.network_settings import MaxLen
from .model_kinds import MODEL_PATTERN, settings_classes

Name = Annotated[str, Field(min_length=1)]
Files = Annotated[list[Name], Field(min_length=1)]
# Maximum length of a name that becomes part of a file name: file systems allow 255 bytes.
MAX_IN_NAME = 60


class _Block(BaseModel):
    model_config = CLOSED


# The settings blocks of all kinds, with all keys optional.
_OPTIONAL_BLOCKS: Any = {
    name: (all_optional(declared), Field(default_factory=all_optional(declared)))
    for name, declared in settings_classes().items()
}
_WithBlocks: Any = create_model("_WithBlocks", __base__=_Block, **_OPTIONAL_BLOCKS)


ScoreName = Literal["toss", "logloss", "auc", "average_precision"]


class TableScore(NamedTuple):
    """A score that a table file can name: its metric, and the default of `submission.prior`."""

    metric: str  # in evaluate/metric_table.py
    prior: Prior = "observed"


SCORES: dict[ScoreName, TableScore] = {
    "toss": TableScore("balanced_score", "balanced"),
    "logloss": TableScore("logloss"),
    "auc": TableScore("auc"),
    "average_precision": TableScore("average_precision"),
}


def table_score(config: Mapping[str, Any]) -> TableScore:
    """The score by which the config's table ranks models."""
    return SCORES[config["table"]["score"]]


def submission_prior(config: Mapping[str, Any]) -> Prior:
    """The setting `submission.prior`; if it is null, the default of the table's score."""
    return config["submission"]["prior"] or table_score(config).prior


class Raw(_Block):
    """Where the raw data come from."""

    source: Literal["auto", "files", "simulated"] = "auto"
    """`files`: the files below. `simulated`: simulated rows. `auto`: the files, or simulated rows
    if all files are missing and the table file has `simulation`"""
    train: Name | Files
    """train rows: a file, a list, a pattern such as `in/day-*.parquet`, or a folder. Files that end
    in .csv, .tsv, .csv.gz or .tsv.gz are CSV, all others parquet"""
    test: Name | Files | None = None
    """rows to predict, given like `train`; null: no submission"""
    delimiter: Delimiter | None = None
    """delimiter of CSV files; null: a comma, or a tab in .tsv files"""
    sample_submission: Name | None = None
    """CSV file with the submission's header and IDs; null, or a missing file: the IDs of the test
    table"""


class Simulation(_Block):
    """Simulated data in place of the raw files, with the columns of the Toss table."""

    train_rows: Annotated[int, Field(ge=200)] = 58_000
    """number of train rows"""
    test_rows: Annotated[int, Field(ge=1)] = 20_000
    """number of test rows"""
    mean_length: Annotated[float, Field(ge=5, le=5000), AS_WRITTEN] = 20
    """mean number of events of a history; the competition's data have 531"""


class Group(_Block):
    """A named group of columns."""

    profile: list[Name] = []
    """categorical columns that the network combines with each event, which costs time"""
    context: list[Name] = []
    """categorical columns that the network reads once; they may also be in `numeric`"""
    numeric: list[Name] = []
    """numeric columns; see `model.numerics`"""
    sequences: dict[str, Name] = {}
    """pairs `history column: target column`. A history is a list of tokens or a text such as
    `12,7,301`, the newest event last. All histories of a row must be equally long"""
    times: dict[str, Name] = {}
    """one pair `column of event times: column of the row's time`. Event times are integers, written
    like a history. The row's time is an integer in the same unit, or a timestamp if event times are
    seconds since 1970"""
    separator: Separator = SEPARATORS[0]
    """character between the tokens of a history"""
    share_embedding: list[Name] = []
    """history columns whose tokens are values of their target column; both then share embeddings
    and can be compared"""


class ColumnRoles(_Block):
    """The roles of the columns."""

    label: Name
    """column of clicks in the train table: 0 and 1, booleans, or text (yes/no, y/n, true/false,
    t/f)"""
    id: Name | None = None
    """column of unique IDs in the test table; null: row numbers from 1 in a column `row`"""
    time: Name | None = None
    """column of the row's time; see `sampling.split`"""
    group: Name | None = None
    """column of a user ID or the like; see `sampling.split`"""
    use: Annotated[list[str], Field(min_length=1)]
    """names of the groups to use (each is a `<group>` below); other groups are ignored"""
    groups: dict[str, Group]
    """the groups by name"""


class Table(_Block):
    """A table of clicks: its files, columns and score."""

    raw: Raw
    """the raw files"""
    simulation: Simulation | None = None
    """simulated data in place of the files"""
    columns: ColumnRoles
    """the roles of the columns"""
    score: ScoreName = "logloss"
    """metric that ranks models. `toss` is the competition's: 0.5 AP + 0.5 / (1 + WLL). AP is the
    average precision, WLL a logloss in which clicks and negatives count half each"""


# Keys of `columns`, and the value of `sampling.split` that splits rows by this column.
SPLIT_BY = {"time": "newest", "group": "groups"}


class SamplingConfig(SettingsBlock):
    """Which rows are used, and which are held out."""

    split: Literal["auto", "random", "newest", "groups"] = "auto"
    """validation rows. `newest`: the newest by `columns.time`. `groups`: all rows of random groups
    (`columns.group`). `random`: random rows. `auto`: the first of these that the table file
    allows"""
    valid_share: Annotated[float, Field(gt=0, lt=1), AS_WRITTEN] = 0.1
    """approximate share of rows to hold out"""
    seed: Seed = 42
    """seed of drawing and shuffling rows"""


def sampling_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the class `Sampling`, from a config's blocks `table` and `sampling`."""
    settings, columns = dict(config["sampling"]), config["table"]["columns"]
    split = settings.pop("split")
    by = {key: columns[key] if split in (kind, "auto") else None for key, kind in SPLIT_BY.items()}
    return {**by, **settings, "is_auto": split == "auto"}


class Parts(_Block):
    """How a table is divided into parts, each of which has a job."""

    rows: Annotated[int, Field(ge=1, le=10_000_000)] = 500_000
    """approximate rows of a part of a table; each part has its own job"""


class Variant(_WithBlocks):
    """Named overrides of settings."""


class Size(_WithBlocks):
    """The settings of one data size."""

    rows: Annotated[int, Field(ge=20)] | None
    """number of train rows to draw at random; null: all"""
    max_len: Annotated[list[MaxLen], Field(min_length=1)]
    """one network each: 150 gives `len150`, whose Transformer reads the newest 150 events"""
    submission_models: Annotated[list[str], Field(min_length=1)]
    """models in the submission, such as `len150` or `boosting`; several models are blended
    (docs/variants.md)"""
    submission_weights: Literal["auto"] | list[Annotated[float, Field(gt=0), AS_WRITTEN]] | None = (
        "auto"
    )
    """weights of the blend. `auto`: fitted to the validation rows. null: equal"""
    min_count: Annotated[int, Field(ge=1)]
    """categories and tokens with fewer occurrences in the train rows count as unknown"""

    @model_validator(mode="after")
    def _has_a_weight_for_each(self) -> Self:
        weights = self.submission_weights
        if isinstance(weights, list) and len(weights) != len(self.submission_models):
            raise ValueError("submission_weights must have one weight for each submission model")
        return self


class Sizes(_Block):
    """The data sizes."""

    toy: Size
    """for a first look"""
    medium: Size
    """for experiments"""
    full: Size
    """for a submission"""


class Submission(_Block):
    """The contents of a submission."""

    prior: Prior | None = None
    """click rate that submitted probabilities assume. `observed`: that of the train rows.
    `balanced`: 0.5. null: `balanced` for the score `toss`, else `observed`"""
    refit: bool = True
    """the submission's models also learn from validation rows (docs/validation.md)"""


class Evaluation(_Block):
    """How models are measured on the validation rows."""

    baselines: list[Baseline | Annotated[str, Field(pattern=f"^{MODEL_PATTERN}$")]] = [
        *BASELINES,
        "boosting",
    ]
    """baselines in the comparison. `constant`: the click rate. `logistic_regression`: on numeric
    columns, history lengths, and columns with few categories. A model's name: that model"""


_SEARCHED = {
    f"{block}.{key}"
    for block, keys in settings_classes().items()
    for key, field in settable_fields(keys).items()
    if NOT_SEARCHED not in field.metadata
}
_Number = Annotated[float, AS_WRITTEN]


class Range(SettingsBlock):
    """A range of numbers to search, from `low` to `high`.

    With `log`, numbers are drawn on a logarithmic scale; with `step`, they are `step` apart.
    """

    low: _Number
    high: _Number
    log: bool = False
    step: Annotated[_Number, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _is_valid(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        if self.log and (self.step is not None or self.low <= 0):
            raise ValueError("log: true needs low > 0 and no step")
        return self


def _space_errors(path: str, values: Any) -> Iterator[str]:
    block, _, key = path.partition(".")
    if path not in _SEARCHED:
        yield f"{path}: is not a setting that can be searched; see config/README.md"
    elif isinstance(values, Mapping):
        lines = validation_errors(Range, values, path)
        numbers = [values.get(name) for name in ("low", "high", "step")]
        yield from lines or _space_errors(path, [n for n in numbers if n is not None])
    elif not isinstance(values, list) or not values:
        yield f"{path}: must be a list of choices or a range {{low, high}}, not {values!r}"
    else:
        for value in values:
            yield from validation_errors(
                all_optional(settings_classes()[block]), {key: value}, block
            )


def _checked_space(space: Mapping[str, Any]) -> Mapping[str, Any]:
    lines = [line for item in space.items() for line in _space_errors(*item)]
    if lines:
        raise ValueError("; ".join(dict.fromkeys(lines)))
    return space


class TuneConfig(SettingsBlock):
    """The search for better settings."""

    trials: Annotated[int, Field(ge=1)] = 20
    """number of trials"""
    space: Annotated[Mapping[str, Any], AfterValidator(_checked_space)] = {}
    """settings to search. Each has a list of choices, or a range `{low, high}`, optionally with
    `log: true` or a `step`. Your file adds settings to those in config.yaml"""


def space_of(space: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The part of a search `space` whose blocks of the config, such as train, are in `names`."""
    return {path: values for path, values in space.items() if path.split(".")[0] in names}


def allows_fractions(path: str, values: Mapping[str, Any]) -> bool:
    """True if the setting `path` allows fractions, not just integers, in a range `values`."""
    return not any(_space_errors(path, [(values["low"] + values["high"]) / 2]))


def nest_by_block(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Nest settings by block of the config: {"model.heads": 2} as {"model": {"heads": 2}, ...}."""
    nested: dict[str, dict[str, Any]] = {block: {} for block in settings_classes()}
    for path, value in settings.items():
        block, key = path.split(".")
        nested[block][key] = value
    return nested


class Config(_WithBlocks):
    """TossCTR FESeq config"""

    table: Table
    """path of the table file, or its content"""
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)
    parts: Parts = Field(default_factory=Parts)
    sizes: Sizes
    variants: dict[
        Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$", max_length=MAX_IN_NAME)], Variant
    ] = Field(default_factory=dict)
    submission: Submission = Field(default_factory=Submission)
    scores: dict[
        Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=MAX_IN_NAME)], Name | Files
    ] = Field(default_factory=dict)
    """further tables to predict, by name, each given like `raw.test`"""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    tuning: TuneConfig = Field(default_factory=TuneConfig)
    runtime: Runtime = Field(default_factory=Runtime)
