"""The config: its blocks and keys, and the settings that sizes and variants may override."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

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
from .model_kinds import MODEL_PATTERN, blocks

Name = Annotated[str, Field(min_length=1)]
Files = Annotated[list[Name], Field(min_length=1)]
# Maximum length of a name that becomes part of a file name: file systems allow 255 bytes.
MAX_IN_NAME = 60


class _Block(BaseModel):
    model_config = CLOSED


# The settings blocks of all kinds, with all keys optional.
_OPTIONAL_BLOCKS: Any = {
    name: (all_optional(declared), Field(default_factory=all_optional(declared)))
    for name, declared in blocks().items()
}
_WithBlocks: Any = create_model("_WithBlocks", __base__=_Block, **_OPTIONAL_BLOCKS)


ScoreName = Literal["toss", "logloss", "auc", "average_precision"]


@dataclass(frozen=True)
class TableScore:
    """A score: its metric in evaluate/metric_table.py, and its default for `submission.prior`."""

    metric: str
    prior: Prior = "observed"


SCORES: dict[ScoreName, TableScore] = {
    "toss": TableScore("balanced_score", "balanced"),
    "logloss": TableScore("logloss"),
    "auc": TableScore("auc"),
    "average_precision": TableScore("average_precision"),
}


def table_score(config: Mapping[str, Any]) -> TableScore:
    """The score that the config's table names."""
    return SCORES[config["table"]["score"]]


def submission_prior(config: Mapping[str, Any]) -> Prior:
    """The click rate that a submission assumes: `submission.prior`, or the default of the score."""
    return config["submission"]["prior"] or table_score(config).prior


class Raw(_Block):
    """Where the raw data come from."""

    source: Literal["auto", "files", "simulated"] = "auto"
    """`files`: the files named below, which must exist. `simulated`: simulated data. `auto`: the
    files if all exist; simulated data if none exists and the table file has a block `simulation`;
    else an error"""
    train: Name | Files
    """table with features and label: a file, a list of files, a pattern such as `in/day-*.parquet`,
    or a folder. Files that end in .csv, .tsv, .csv.gz or .tsv.gz are CSV, all others parquet"""
    test: Name | Files | None = None
    """table with features and ID, given like `train`; null: no test table and no submission"""
    delimiter: Delimiter | None = None
    """character between the values of CSV files, such as `;`; null: a comma, or a tab in .tsv
    files"""
    sample_submission: Name | None = None
    """CSV file. Its IDs set the submission's rows and their order; its other column sets the
    name of the predictions. If null or missing, the test table sets rows and order"""


class Simulation(_Block):
    """Simulated data in place of the raw files, with the columns of the Toss table."""

    train_rows: Annotated[int, Field(ge=200)] = 58_000
    """rows of the simulated train file"""
    test_rows: Annotated[int, Field(ge=1)] = 20_000
    """rows of the simulated test file"""
    mean_length: Annotated[float, Field(ge=5, le=5000), AS_WRITTEN] = 20
    """mean events per sequence; the real data have 531"""


class Group(_Block):
    """A named group of columns."""

    profile: list[Name] = []
    """categorical columns of the row: text, integers, floats, booleans. The network reads them at
    every position of the history, which costs memory and time"""
    context: list[Name] = []
    """further categorical columns of the row, which the network reads only once. A column may be
    both here and in `numeric`: it is then used as a number and as a category"""
    numeric: list[Name] = []
    """numeric columns; `model.scaling` and `model.numerics` set how a network reads them"""
    sequences: dict[str, Name] = {}
    """`sequence column: target column`. A sequence has a row's events, newest last: tokens joined
    by `separator`, such as `12,7,301` or `a12,b7`, or a list of integers or texts. The target
    column has the row's item, with which the events are compared. In each row, all sequences in use
    must have equally many events"""
    times: dict[str, Name] = {}
    """`column of the events' times: column of the row's time`, at most one pair. The events' times
    are a sequence of integers, one for each event. The row's time is an integer in the same unit;
    or a timestamp, if the events' times are seconds since 1970. Each row must have a time. An event
    later than its row gets the row's time"""
    separator: Separator = SEPARATORS[0]
    """character between the tokens of a text. All groups in use must have the same"""
    share_embedding: list[Name] = []
    """sequences whose events are items of their target column. An item then has one embedding, as
    an event and as a target; `min_count` applies to the sum of both counts"""


class ColumnRoles(_Block):
    """The roles of the columns."""

    label: Name
    """column of the train table with 0 and 1, booleans, or text: yes and no, y and n, true and
    false, or t and f"""
    id: Name | None = None
    """column of unique IDs in the test table; null: the submission has row numbers from 1 in a
    column `row`"""
    time: Name | None = None
    """column of the row's time: whole numbers, dates, timestamps or text; `sampling.split` can hold
    out the newest rows"""
    group: Name | None = None
    """column whose equal values form a group of rows, such as a user ID; `sampling.split` can hold
    out whole groups"""
    use: Annotated[list[str], Field(min_length=1)]
    """names of the column groups in use; columns of other groups are never read"""
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
    """the metric that ranks models. `toss` is the competition's: 0.5 AP + 0.5 / (1 + WLL), with the
    average precision AP, and WLL, a logloss in which clicks and negatives have equal total weight.
    The score also sets the default of `submission.prior`"""


# Keys of `columns`, and the value of `sampling.split` that splits rows by this column.
SPLIT_BY = {"time": "newest", "group": "groups"}


class SamplingConfig(SettingsBlock):
    """Which rows are used, and which are held out."""

    split: Literal["auto", "random", "newest", "groups"] = "auto"
    """which rows are held out for validation. `random`: random rows. `newest`: the newest by
    `columns.time`. `groups`: all rows of random groups (`columns.group`). `auto`: `newest` if the
    time column has several values, else `groups` if the group column has several, else `random`"""
    valid_share: Annotated[float, Field(gt=0, lt=1), AS_WRITTEN] = 0.1
    """share of the rows held out. With `random`, it is the share of each label. With `newest` and
    `groups`, it is approximate, since all rows of a time or group stay together"""
    seed: Seed = 42
    """seed of drawing and shuffling rows"""


def sampling_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Sampling`, from a config's blocks `table` and `sampling`."""
    settings, columns = dict(config["sampling"]), config["table"]["columns"]
    split = settings.pop("split")
    by = {key: columns[key] if split in (kind, "auto") else None for key, kind in SPLIT_BY.items()}
    return {**by, **settings, "is_auto": split == "auto"}


class Parts(_Block):
    """The parts of a table."""

    rows: Annotated[int, Field(ge=1, le=10_000_000)] = 500_000
    """approximate number of rows in a part. Tables are processed in parts, each by its own job"""


class Variant(_WithBlocks):
    """Named overrides of settings."""


class Size(_WithBlocks):
    """The settings of one data size."""

    rows: Annotated[int, Field(ge=20)] | None
    """number of rows drawn evenly from the train table, with its click rate; null: all"""
    max_len: Annotated[list[MaxLen], Field(min_length=1)]
    """how many of a history's newest events become positions of the network; each number gives a
    model, such as `len150`. Other inputs use all events"""
    submission_models: Annotated[list[str], Field(min_length=1)]
    """names of the submission's models, such as `len150` or `len150-briefing`. Several models are
    blended: the submission has the weighted mean of their logits"""
    submission_weights: Literal["auto"] | list[Annotated[float, Field(gt=0), AS_WRITTEN]] | None = (
        "auto"
    )
    """weights of these models in the blend. `auto`: weights from 0 to 1 with the lowest validation
    logloss, but nearly equal if clicks are few. null: equal weights"""
    min_count: Annotated[int, Field(ge=1)]
    """categories and tokens that occur less often in the train rows are treated as unknown"""

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
    """click rate that the submitted probabilities assume. `observed`: the train rows'.
    `balanced`: 0.5, best for a logloss that weights clicks and negatives equally. null: `balanced`
    if the score is `toss`, else `observed`"""
    refit: bool = True
    """submission models also learn from the validation rows (docs/validation.md)"""


class Evaluation(_Block):
    """How models are measured on the validation rows."""

    baselines: list[Baseline | Annotated[str, Field(pattern=f"^{MODEL_PATTERN}$")]] = [
        *BASELINES,
        "boosting",
    ]
    """baselines to compare models with: `constant`, the click rate;
    `logistic_regression`, on ranks of numeric columns and history lengths, and on columns with few
    categories; or a model's name"""


_SEARCHED = {
    f"{block}.{key}"
    for block, keys in blocks().items()
    for key, field in settable_fields(keys).items()
    if NOT_SEARCHED not in field.metadata
}
_Number = Annotated[float, AS_WRITTEN]


class Range(SettingsBlock):
    """A range of numbers from `low` to `high`."""

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
            yield from validation_errors(all_optional(blocks()[block]), {key: value}, block)


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
    """settings to search, by name, such as `train.learning_rate`. FESeq searches those of
    `model` and `train`, boosting those of `boosting`. Each has a list of choices, or a range `{low,
    high}`, optionally with `log: true` or a `step`. Another config file can only add settings; to
    remove some, edit config.yaml"""


def space_of(space: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The part of a search space whose settings are in the blocks `names`."""
    return {path: values for path, values in space.items() if path.split(".")[0] in names}


def takes_fractions(path: str, values: Mapping[str, Any]) -> bool:
    """True if the setting `path`, searched in the range `values`, accepts fractions."""
    return not any(_space_errors(path, [(values["low"] + values["high"]) / 2]))


def by_block(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Nest settings by block: {"model.heads": 2} as {"model": {"heads": 2}, "train": {}, ...}."""
    nested: dict[str, dict[str, Any]] = {block: {} for block in blocks()}
    for path, value in settings.items():
        block, key = path.split(".")
        nested[block][key] = value
    return nested


class Config(_WithBlocks):
    """TossCTR FESeq config"""

    table: Table
    """path of the table file, or its keys as a mapping"""
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
    """further tables to predict, by name, each given like `raw.test`;
    `results/scores/<name>.parquet` gets the probabilities"""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    tuning: TuneConfig = Field(default_factory=TuneConfig)
    runtime: Runtime = Field(default_factory=Runtime)
