"""The whole config: each block and key, and what sizes and variants may set on top."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, create_model, model_validator

from ..config.columns import SEPARATORS, Separator
from ..config.declared import AS_WRITTEN, CLOSED, Delimiter, partial
from ..config.names import BASELINES, Baseline
from ..config.runtime import Runtime
from ..config.sampling import SamplingConfig
from ..config.scores import Prior, ScoreName
from ..models.feseq.network_settings import MaxLen
from .model_kinds import MODEL_PATTERN, blocks
from .space import TuneConfig

Name = Annotated[str, Field(min_length=1)]
Files = Annotated[list[Name], Field(min_length=1)]
# Characters of a name that files are called by, with more around it: file systems hold 255 bytes.
MOST_IN_NAME = 60


class _Block(BaseModel):
    model_config = CLOSED


# With some settings of the blocks of all families.
_SOME: Any = {
    name: (partial(declared), Field(default_factory=partial(declared)))
    for name, declared in blocks().items()
}
_WithBlocks: Any = create_model("_WithBlocks", __base__=_Block, **_SOME)


class Raw(_Block):
    """Where the raw data come from."""

    source: Literal["auto", "files", "simulated"] = "auto"
    """`files`: the files below must exist. `simulated`: the table's stand-in, whatever exists.
    `auto`: the files where both exist, the stand-in where there is one and neither file exists, an
    error where only one of those named does; a remote file counts as one that exists. The stand-in
    is refused in a folder with results or H5 files of real data"""
    train: Name | Files
    """table with features and label: a file, a list of files, a pattern such as
    `in/day-*.parquet`, or a folder of files. Names tell the format: .csv, .tsv, .csv.gz, .tsv.gz,
    and parquet with any other. Where data/raw/train.parquet is named and not there,
    data/raw/train.csv, or with another of these endings, is taken"""
    test: Name | Files | None = None
    """table with features and ID, the same; null: there is none, so models are trained and compared
    and nothing is submitted"""
    delimiter: Delimiter | None = None
    """the character between the values of CSV files, such as `;`, of all tables; null: a comma, or
    a tab in files .tsv"""
    sample_submission: Name | None = None
    """CSV file, .gz or not, whose ID column sets the rows and the order of the submission, and
    whose other column names the prediction. Where it is null or does not exist, the test file sets
    rows and order; a remote one must exist"""


class Simulation(_Block):
    """The stand-in for the raw files, which has the columns of the Toss table."""

    train_rows: Annotated[int, Field(ge=200)] = 58_000
    """rows of its train file"""
    test_rows: Annotated[int, Field(ge=1)] = 20_000
    """rows of its test file"""
    mean_length: Annotated[float, Field(ge=5, le=5000), AS_WRITTEN] = 20
    """mean events per sequence. The real data have 531; the default is short, so that the default
    run ends in minutes on two cores"""


class Group(_Block):
    """A named group of columns."""

    profile: list[Name] = []
    """categorical columns of the row: strings, integers, floats, booleans. They stand at every
    position of the history, whose width, memory and time grow with each of them"""
    context: list[Name] = []
    """categories of the row that go to the output network alone. Numeric columns may stand here
    too: IDs and levels, whose values then count both as numbers and as categories"""
    numeric: list[Name] = []
    """numeric columns; `model.scaling` and `model.numerics` say how a network takes them"""
    sequences: dict[str, Name] = {}
    """`sequence column: target column`. A sequence is text of tokens joined by `separator`, such as
    `12,7,301` or `a12,b7`, or a list of integers or texts, newest last, empty or missing for none;
    the target is the categorical column of the item that the history is matched with. Sequences
    used together have equal lengths in each row. Without any, FESeq has an empty history"""
    times: dict[str, Name] = {}
    """`column of the events' times: column of the row's time`, at most one such pair in the groups
    in use. The former is written like a sequence of integers and as long, one time for each event;
    the latter is an integer or a timestamp (counted in whole seconds since 1970) in the same unit,
    in every row. An event later than its row counts as of the same time"""
    separator: Separator = SEPARATORS[0]
    """what joins the tokens of sequences and times in text; groups in use have the same one"""
    share_embedding: list[Name] = []
    """sequences of the group whose events are items of their target column: token a12 is category
    `a12`, 12 is `12` and 012 is `012`, counted together for `min_count`, and learned as one"""


class ColumnRoles(_Block):
    """Which column plays which role."""

    label: Name
    """column of 0 and 1, of true and false, or of text in one of the pairs yes and no, y and n,
    true and false, t and f, in upper or lower case, in the train file"""
    id: Name
    """column of unique IDs in the test file"""
    time: Name | None = None
    """a column of numbers, timestamps or text that says when a row was; rows can be held out by it
    (`sampling.split`). It need not be among the features"""
    group: Name | None = None
    """the column that says which rows belong together, such as the user's; the split `groups`
    keeps all rows of a value on one side"""
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


class Parts(_Block):
    """The parts of a table."""

    rows: Annotated[int, Field(ge=1, le=10_000_000)] = 500_000
    """about how many rows a part has. One job converts a part, and one predicts a part of the
    test; its memory hardly grows with the rows. A large file is cut between its row groups, and a
    large row group within"""


class Variant(_WithBlocks):
    """Other settings by name."""


class Size(_WithBlocks):
    """What differs between the data sizes."""

    rows: Annotated[int, Field(ge=20)] | None
    """rows drawn evenly from the whole train file, stratified by label; null: all"""
    max_len: Annotated[list[MaxLen], Field(min_length=1)]
    """how many of a history's newest events have positions in a network; models are named by it.
    Sums and statistics take all events"""
    submission_models: Annotated[list[str], Field(min_length=1)]
    """the models that submit, by name: `len150`, or `len150-briefing` for a variant; of several,
    the mean of their logits"""
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
    """`observed`: probabilities at the data's click rate. `balanced`: their odds divided by those
    of the click rate of the train rows, as if half of the rows were clicks, which is best for a
    logloss that weighs both classes equally; the order of the rows stays. null: as the table's
    `score` counts them, `balanced` for toss and `observed` for others; scores of further files are
    at observed odds then"""
    refit: bool = True
    """the models that submit also learn from the held-out rows (docs/validation.md); metrics
    stay those of the first training. false: the first training submits"""


class Evaluation(_Block):
    """How models are measured on the validation rows."""

    baselines: list[Baseline | Annotated[str, Field(pattern=f"^{MODEL_PATTERN}$")]] = [
        *BASELINES,
        "boosting",
        "boosting-plain",
    ]
    """what models are compared with: `constant` is the click rate; `logistic_regression` knows
    ranks of numeric columns and of history lengths, and the categories of columns with at most 61;
    or any model, by name, in the sizes that can train it"""


class Config(_WithBlocks):
    """TossCTR FESeq config"""

    table: Table
    """the table: its file, or the mapping itself"""
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)
    parts: Parts = Field(default_factory=Parts)
    sizes: Sizes
    variants: dict[
        Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$", max_length=MOST_IN_NAME)], Variant
    ] = Field(default_factory=dict)
    submission: Submission = Field(default_factory=Submission)
    scores: dict[
        Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=MOST_IN_NAME)], Name | Files
    ] = Field(default_factory=dict)
    """tables to score by name, each a file, pattern or folder like the test table, or a
    list of such, local or in a store; `results/scores/<name>.parquet` has the probabilities"""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    tuning: TuneConfig = Field(default_factory=TuneConfig)
    runtime: Runtime = Field(default_factory=Runtime)
