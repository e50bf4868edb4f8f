"""The whole config: each block and key, and what sizes and variants may set on top."""

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
    partial,
    settable,
    validation_errors,
)
from ..config.names import BASELINES, Baseline, Prior
from ..models.feseq.network_settings import MaxLen
from .model_kinds import MODEL_PATTERN, blocks

Name = Annotated[str, Field(min_length=1)]
Files = Annotated[list[Name], Field(min_length=1)]
# Characters of a name that files are called by, with more around it: file systems hold 255 bytes.
MAX_IN_NAME = 60


class _Block(BaseModel):
    model_config = CLOSED


# With some settings of the blocks of all kinds.
_SOME: Any = {
    name: (partial(declared), Field(default_factory=partial(declared)))
    for name, declared in blocks().items()
}
_WithBlocks: Any = create_model("_WithBlocks", __base__=_Block, **_SOME)


ScoreName = Literal["toss", "logloss", "auc", "average_precision"]


@dataclass(frozen=True)
class TableScore:
    """A score: its metric's name in evaluate/metric_table.py, and the odds at which it is best.

    `monitor` is the default of `train.monitor`; None: as declared there.
    """

    metric: str
    prior: Prior = "observed"
    monitor: Mapping[str, float] | None = None


SCORES: dict[ScoreName, TableScore] = {
    "toss": TableScore("balanced_score", "balanced", {"balanced_score": 1}),
    "logloss": TableScore("logloss"),
    "auc": TableScore("auc"),
    "average_precision": TableScore("average_precision"),
}


def table_score(config: Mapping[str, Any]) -> TableScore:
    """What predictions of the config's table are scored by."""
    return SCORES[config["table"]["score"]]


def submission_prior(config: Mapping[str, Any]) -> Prior:
    """The odds of a submission: those of `submission.prior`, else those of the table's score."""
    return config["submission"]["prior"] or table_score(config).prior


class Raw(_Block):
    """Where the raw data come from."""

    source: Literal["auto", "files", "simulated"] = "auto"
    """`files`: the files below must exist. `simulated`: the table's stand-in, whatever exists.
    `auto`: the files where both exist, the stand-in where neither does, an error where just one of
    two named exists"""
    train: Name | Files
    """table with features and label: a file, a list of files, a pattern such as `in/day-*.parquet`,
    or a folder of files. Names tell the format: .csv, .tsv, .csv.gz, .tsv.gz; any other is parquet.
    Where data/raw/train.parquet is named and not there, data/raw/train.csv, or with another of
    these endings, is taken"""
    test: Name | Files | None = None
    """table with features and ID, named likewise; null: none, so nothing is submitted"""
    delimiter: Delimiter | None = None
    """the character between the values of CSV files, such as `;`; null: a comma, or a tab in files
    .tsv"""
    sample_submission: Name | None = None
    """CSV file, .gz or not, whose ID column sets the rows and the order of the submission, and
    whose other column names the prediction. Where it is null or does not exist, the test file sets
    rows and order"""


class Simulation(_Block):
    """The stand-in for the raw files, which has the columns of the Toss table."""

    train_rows: Annotated[int, Field(ge=200)] = 58_000
    """rows of its train file"""
    test_rows: Annotated[int, Field(ge=1)] = 20_000
    """rows of its test file"""
    mean_length: Annotated[float, Field(ge=5, le=5000), AS_WRITTEN] = 20
    """mean events per sequence. The real data have 531; the default is short, so that the default
    run ends in minutes"""


class Group(_Block):
    """A named group of columns."""

    profile: list[Name] = []
    """categorical columns of the row: strings, integers, floats, booleans. They stand at every
    position of the history, whose width, memory and time grow with each of them"""
    context: list[Name] = []
    """categories of the row that go to the output network alone. Numeric columns may stand here
    too, whose values then count both as numbers and as categories"""
    numeric: list[Name] = []
    """numeric columns; `model.scaling` and `model.numerics` say how a network takes them"""
    sequences: dict[str, Name] = {}
    """`sequence column: target column`. A sequence is text of tokens joined by `separator`, such as
    `12,7,301` or `a12,b7`, or a list of integers or texts, newest last; the target is the
    categorical column of the item that the history is matched with. Sequences used together have
    equal lengths in each row"""
    times: dict[str, Name] = {}
    """`column of the events' times: column of the row's time`, at most one such pair. The former is
    written like a sequence of integers, one time for each event; the latter is an integer or a
    timestamp (in whole seconds since 1970) in the same unit, in every row. An event later than its
    row gets the row's time"""
    separator: Separator = SEPARATORS[0]
    """what joins the tokens of sequences and times in text; groups in use have the same one"""
    share_embedding: list[Name] = []
    """sequences of the group whose events are items of their target column: token a12 is category
    `a12`, 012 is `012`, counted together for `min_count`, and learned as one"""


class ColumnRoles(_Block):
    """Which column plays which role."""

    label: Name
    """column of 0 and 1, of true and false, or of text in one of the pairs yes and no, y and n,
    true and false, t and f, in the train file"""
    id: Name
    """column of unique IDs in the test file"""
    time: Name | None = None
    """a column of numbers, timestamps or text that says when a row was; rows can be held out by it
    (`sampling.split`)"""
    group: Name | None = None
    """the column that says which rows belong together, such as the user's (`sampling.split`)"""
    use: Annotated[list[str], Field(min_length=1)]
    """the groups that the model sees; columns of other groups are never read"""
    groups: dict[str, Group]
    """the groups by name"""


class Table(_Block):
    """A table of clicks: its files and columns, and what predictions of it are scored by."""

    raw: Raw
    """where it is"""
    simulation: Simulation | None = None
    """its stand-in, if it has one"""
    columns: ColumnRoles
    """its columns"""
    score: ScoreName = "logloss"
    """what predictions are scored by: `toss`, the competition's 0.5 AP + 0.5 / (1 + WLL) at 50:50
    odds; `logloss`, `auc`, `average_precision`. It decides which model is called the best, what
    weights are fitted to, and the defaults of `submission.prior` and `train.monitor`"""


# The split that needs a column of the table, by the column's key.
SPLIT_BY = {"time": "newest", "group": "groups"}


class SamplingConfig(SettingsBlock):
    """Which rows are used, and which are held out."""

    split: Literal["auto", "random", "newest", "groups"] = "auto"
    """which rows are held out: any, drawn at `random`; the `newest` by the table's `columns.time`;
    whole `groups`, drawn at random, so that no value of `columns.group` is in both splits. `auto`:
    the newest where the table has a time of several values, else groups where it has several of
    them, else any"""
    valid_share: Annotated[float, Field(gt=0, lt=1), AS_WRITTEN] = 0.1
    """share of the rows held out for validation, drawn within each label; for `newest` and
    `groups`, the nearest possible with whole ones"""
    seed: Seed = 42
    """seed of the draw and of the shuffle"""


def sampling_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Sampling` for the table and the `sampling` keys of a config."""
    settings, columns = dict(config["sampling"]), config["table"]["columns"]
    split = settings.pop("split")
    by = {key: columns[key] if split in (one, "auto") else None for key, one in SPLIT_BY.items()}
    return {**by, **settings, "is_auto": split == "auto"}


class Parts(_Block):
    """The parts of a table."""

    rows: Annotated[int, Field(ge=1, le=10_000_000)] = 500_000
    """about how many rows a part has. One job converts a part, and one predicts a part of the test;
    its memory hardly grows with the rows"""


class Variant(_WithBlocks):
    """Other settings by name."""


class Size(_WithBlocks):
    """What differs between the data sizes."""

    rows: Annotated[int, Field(ge=20)] | None
    """rows drawn evenly from the whole train file, stratified by label; null: all"""
    max_len: Annotated[list[MaxLen], Field(min_length=1)]
    """how many of a history's newest events the Transformer sees; models are named by it. Sums and
    statistics take all events"""
    submission_models: Annotated[list[str], Field(min_length=1)]
    """the models that submit, by name: `len150`, or `len150-briefing` for a variant; if several,
    their logits' mean"""
    submission_weights: Literal["auto"] | list[Annotated[float, Field(gt=0), AS_WRITTEN]] | None = (
        "auto"
    )
    """their weights in that mean. `auto`: fitted to the validation rows by the table's score, none
    below 0, and equal with fewer than 18 clicks. null: equal"""
    min_count: Annotated[int, Field(ge=1)]
    """categories and tokens seen less often in training count as out of vocabulary"""

    @model_validator(mode="after")
    def _has_a_weight_for_each(self) -> Self:
        weights = self.submission_weights
        if isinstance(weights, list) and len(weights) != len(self.submission_models):
            raise ValueError("submission_weights must have one for each of submission_models")
        return self


class Sizes(_Block):
    """The data sizes."""

    toy: Size
    """for a first look"""
    medium: Size
    """for experiments"""
    full: Size
    """for the submission"""


class Submission(_Block):
    """What a submission holds."""

    prior: Prior | None = None
    """`observed`: probabilities at the data's click rate. `balanced`: as if half of the rows were
    clicks, which is best for a logloss that weighs both classes equally. null: `balanced` for a
    table whose score is toss, else `observed`"""
    refit: bool = True
    """the models that submit also learn from the held-out rows (docs/validation.md)"""


class Evaluation(_Block):
    """How models are measured on the validation rows."""

    baselines: list[Baseline | Annotated[str, Field(pattern=f"^{MODEL_PATTERN}$")]] = [
        *BASELINES,
        "boosting",
        "boosting-plain",
    ]
    """what models are compared with: `constant` is the click rate; `logistic_regression` uses
    ranks of numerics and history lengths, and columns with few categories; or any
    model, by name"""


_SEARCHED = {
    f"{block}.{key}"
    for block, keys in blocks().items()
    for key, field in settable(keys).items()
    if NOT_SEARCHED not in field.metadata
}
_Number = Annotated[float, AS_WRITTEN]


class Range(SettingsBlock):
    """Numbers from `low` to `high`."""

    low: _Number
    high: _Number
    log: bool = False
    step: Annotated[_Number, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _is_valid(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low is not below high")
        if self.log and (self.step is not None or self.low <= 0):
            raise ValueError("log needs a low above 0 and no step")
        return self


def _errors(path: str, values: Any) -> Iterator[str]:
    block, _, key = path.partition(".")
    if path not in _SEARCHED:
        yield f"{path}: cannot be searched; config/README.md has the settings"
    elif isinstance(values, Mapping):
        lines = validation_errors(Range, values, path)
        numbers = [values.get(name) for name in ("low", "high", "step")]
        yield from lines or _errors(path, [n for n in numbers if n is not None])
    elif not isinstance(values, list) or not values:
        yield f"{path}: {values!r} is neither a list of choices nor a range {{low, high}}"
    else:
        for value in values:
            yield from validation_errors(partial(blocks()[block]), {key: value}, block)


def _checked(space: Mapping[str, Any]) -> Mapping[str, Any]:
    lines = [line for item in space.items() for line in _errors(*item)]
    if lines:
        raise ValueError("; ".join(dict.fromkeys(lines)))
    return space


class TuneConfig(SettingsBlock):
    """How to tune."""

    trials: Annotated[int, Field(ge=1)] = 20
    """trainings"""
    space: Annotated[Mapping[str, Any], AfterValidator(_checked)] = {}
    """settings of `model` and `train`, for FESeq, and of `boosting` by their names, such as
    `train.learning_rate`: a list of choices, or a range `{low, high}`, perhaps with `log: true` or
    a `step`. Settings that contradict one another are a pruned trial. A further config file adds
    to the space of config.yaml; to search fewer settings, take them out there"""


def space_of(space: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The settings of some blocks."""
    return {path: values for path, values in space.items() if path.split(".")[0] in names}


def takes_fractions(path: str, values: Mapping[str, Any]) -> bool:
    """True for a range of a setting whose values need not be integers."""
    return not any(_errors(path, [(values["low"] + values["high"]) / 2]))


def by_block(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{"model.heads": 2} as {"model": {"heads": 2}, "train": {}, "boosting": {}}."""
    nested: dict[str, dict[str, Any]] = {block: {} for block in blocks()}
    for path, value in settings.items():
        block, key = path.split(".")
        nested[block][key] = value
    return nested


class Config(_WithBlocks):
    """TossCTR FESeq config"""

    table: Table
    """the table: its file, or the mapping itself"""
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
    """tables to score by name, each a file, pattern or folder like the test table, or a
    list of such, local or in a store; `results/scores/<name>.parquet` has the probabilities"""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    tuning: TuneConfig = Field(default_factory=TuneConfig)
    runtime: Runtime = Field(default_factory=Runtime)
