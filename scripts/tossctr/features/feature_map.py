"""The feature map: vocabularies and numeric ranges of the train rows (in a refit, of all rows).

Indices of a category: 0 padding, 1 out of vocabulary, 2 missing; its vocabulary starts at 3.
Indices of a sequence: 0 padding, 1 out of vocabulary; its vocabulary starts at 2. A sequence that
shares its target's vocabulary has the target's indices: token 12 and category '12' have the same
index, and so have token a12 and category 'a12'.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from ..common.errors import UserError
from ..common.files import read_json, write_json
from ..config.columns import SEPARATORS, Columns
from ..config.names import require_made_for
from ..datasets.table import Table, draw_mismatch_error, reject_test_rows
from .numeric import NumericField

PADDING, OUT_OF_VOCABULARY, MISSING = 0, 1, 2
FIRST_CATEGORY, FIRST_TOKEN = 3, 2
# Columns with more categories are not one-hot encoded, and trees do not split by their categories.
MAX_CATEGORIES = 64
# Smaller tokens are counted and looked up in arrays (16 MiB), larger tokens by search.
DENSE_LIMIT = 1 << 21
# Dimensions of an item vector.
DIMENSIONS = 24


@dataclass(frozen=True)
class CategoryField:
    """A column of categories and its vocabulary: the values that have their own index.

    They are texts or, in a numeric column, ascending numbers. A rare value is out of vocabulary.
    """

    column: str
    vocabulary: list[Any]

    @property
    def size(self) -> int:
        """The number of indices, including padding, out of vocabulary, and missing."""
        return FIRST_CATEGORY + len(self.vocabulary)


@dataclass(frozen=True)
class SequenceField:
    """A sequence column and its vocabulary: the tokens that have their own index, ascending.

    `shared_with` is the target column that shares indices and embedding with this column, if any.
    The target's vocabulary then has this column's tokens, and after them others; `other_words` is
    the number of these others.
    """

    column: str
    vocabulary: list[int]
    shared_with: str | None = None
    other_words: int = 0

    @property
    def first_index(self) -> int:
        """The index of the vocabulary's first token."""
        return FIRST_CATEGORY if self.shared_with else FIRST_TOKEN

    @property
    def size(self) -> int:
        """The number of indices, including padding, out of vocabulary, and `other_words`."""
        return self.first_index + len(self.vocabulary) + self.other_words


@dataclass(frozen=True)
class ItemAttribute:
    """A categorical column that depends only on the target item, such as a film's genre.

    of_code[i] is the attribute's index for the item with index i in `sequence`; PADDING if the
    attribute is unknown.
    """

    column: str
    sequence: str
    of_code: list[int]


@dataclass(frozen=True)
class ItemVectors:
    """The vectors of the items of a sequence, from the co-occurrence of items in histories.

    A train row gets vectors that were computed without its fold. `fold_of` says what a fold is:

        period     the rows of a time interval; its vectors are from older intervals
        fold       the rows of a random set of groups
        history    rows whose first event has the same hash; all rows of a user share it

    `codes` has the indices of the items with a vector, ascending. `data` has the numbers as base64
    of little-endian float32, [folds + 1, items, dimensions]; the last entry is for rows without a
    fold.
    """

    sequence: str
    fold_of: str
    codes: list[int]
    data: str

    @cached_property
    def vectors(self) -> np.ndarray:
        """The vectors by fold and item, float32 [folds + 1, 1 + items, dimensions].

        The last fold is for rows without a fold. Item 0, a zero vector, stands for all others.
        """
        numbers = np.frombuffer(base64.b64decode(self.data, validate=True), "<f4")
        shaped = numbers.reshape(-1, len(self.codes), DIMENSIONS)
        return np.pad(shaped.astype(np.float32), ((0, 0), (1, 0), (0, 0)))

    def indices(self, size: int) -> np.ndarray:
        """For each of `size` vocabulary indices, its item number in `vectors`, int64; 0 if none."""
        indices = np.zeros(size, np.int64)
        indices[self.codes] = np.arange(1, len(self.codes) + 1)
        return indices


@dataclass(frozen=True)
class FeatureMap:
    """The columns that a model reads, in order, with their vocabularies and ranges (fields).

    profile            categories that a network reads with each event
    targets            for each of `sequences`, the category that is compared with its events
    sequences          histories of events
    numeric            numbers
    context            categories that a network reads once per row
    ids                numeric columns that a network also reads as context categories
    statistics         numbers that are computed from histories; ranges are from a sample
    min_count          how often a value must occur to be in a vocabulary
    fitted_on          the identity of the train table
    event_time         the sequence column of the events' times; None without times
    row_time           the column of the rows' times; None without times
    event_ages         quantiles of the time from an event to its row, in the train rows
    separator          the character between the tokens of a sequence in text
    item_attributes    categories that depend only on the target item
    item_vectors       the vectors of each sequence's items
    """

    profile: list[CategoryField]
    targets: list[CategoryField]
    sequences: list[SequenceField]
    numeric: list[NumericField]
    min_count: int
    fitted_on: str
    event_time: str | None = None
    row_time: str | None = None
    context: list[CategoryField] = field(default_factory=list)
    ids: list[CategoryField] = field(default_factory=list)
    statistics: list[NumericField] = field(default_factory=list)
    separator: str = SEPARATORS[0]
    event_ages: list[float] = field(default_factory=list)
    item_attributes: list[ItemAttribute] = field(default_factory=list)
    item_vectors: list[ItemVectors] = field(default_factory=list)

    @property
    def categories(self) -> list[CategoryField]:
        """The profile, target and context columns, in this order."""
        return [*self.profile, *self.targets, *self.context]

    @property
    def context_and_ids(self) -> list[CategoryField]:
        """The categories that a network reads once per row: `context`, then `ids`."""
        return [*self.context, *self.ids]

    @property
    def category_fields(self) -> list[CategoryField]:
        """All categorical columns: profile, then target items, then `context_and_ids`."""
        return [*self.profile, *self.targets, *self.context_and_ids]

    @property
    def history_columns(self) -> list[str]:
        """The names of the sequence columns."""
        return [field.column for field in self.sequences]

    def for_networks(self) -> "FeatureMap":
        """This map; if it has no sequences, a copy with an empty sequence and an empty target."""
        if self.sequences:
            return self
        return replace(self, sequences=[SequenceField("", [])], targets=[CategoryField("", [])])

    def to_dict(self) -> dict[str, Any]:
        """The map as plain lists, strings and numbers, for JSON and model files."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "FeatureMap":
        """The map that `to_dict` turned into plain values; unknown keys are ignored."""
        return _from_plain(cls, plain)

    def write(self, path: Path) -> None:
        """Write the map as JSON, atomically."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: Path) -> "FeatureMap":
        """Read a map that `write` wrote; raises UserError for another file."""
        return read_json(path, cls.from_dict, kind="feature_map.json")


def _from_plain(cls: Any, plain: Mapping[str, Any]) -> Any:
    """Build a `cls`, and the dataclasses in its lists, from plain values; ignore unknown keys."""
    values = {}
    for name, hint in get_type_hints(cls).items():
        if name in plain:
            inner = next(iter(get_args(hint)), None)
            is_nested = is_dataclass(inner) and get_origin(hint) is list
            value = plain[name]
            values[name] = [_from_plain(inner, x) for x in value] if is_nested else value
    return cls(**values)


def require_columns(table: Table, columns: Columns) -> None:
    """Raise UserError if `table` lacks one of the features in `columns`."""
    # Events' times are useless without the rows' times.
    times = table.sequence_columns if table.has_times else []
    for wanted, present in (
        (columns.categorical, table.categorical_columns),
        (columns.numeric, table.numeric_columns),
        (columns.sequences, table.sequence_columns),
        ([columns.event_time] if columns.event_time else [], times),
    ):
        missing = [name for name in wanted if name not in present]
        if missing:
            raise UserError(
                f"{table.path}: lacks columns that the features need, such as {missing[0]!r} "
                f"({len(missing)} in all); the file was made with another `columns.use`. Delete "
                f"the file and run snakemake again, or use a model that was trained on its columns"
            )


def check_same_draw(
    feature_map: FeatureMap,
    train: Table,
    valid: Table,
    full_name: str = "",
    fitted: object = "the feature map",
) -> None:
    """Raise UserError if the files and the feature map come from different draws of rows.

    A validation row of one draw can be a train row of another. `train` must have train rows and
    `valid` validation rows, unless both are the same table. Both must be of the size in the model's
    `full_name`, such as full/len150. Messages call the feature map `fitted`.
    """
    for table in (train, valid):
        reject_test_rows(table)
    require_made_for(train.path, train.source.get("size", ""), full_name.partition("/")[0])
    if train is not valid and (train.split, valid.split) != ("train", "validation"):
        raise UserError(
            f"{train.path} has {train.split} rows and {valid.path} has {valid.split} rows; give "
            f"a file of train rows and a file of validation rows"
        )
    for other, identity in ((valid.path, valid.identity), (fitted, feature_map.fitted_on)):
        if identity != train.identity:
            raise draw_mismatch_error(train.path, other)


def check_simulated(path: object, is_simulated: bool, is_model_simulated: bool) -> None:
    """Raise UserError if a file is simulated and a model's train rows are real, or the reverse."""
    if is_simulated != is_model_simulated:
        names = {True: "simulated", False: "real"}
        raise UserError(
            f"{path} has {names[is_simulated]} data, but the model was trained on "
            f"{names[is_model_simulated]} data; use a file and a model of the same kind of data"
        )


def needed_columns(maps: Sequence[FeatureMap]) -> Columns:
    """The columns that models with the feature maps `maps` read, with all categories as `profile`.

    Raises UserError if the models' separators or columns of times differ.
    """
    times = {(m.event_time, m.row_time) for m in maps if m.event_time}
    if len(times) > 1:
        raise UserError(
            f"the models read times from different columns, {sorted(times)}; score the models of "
            f"each table separately"
        )
    event_time, row_time = next(iter(times), (None, None))
    separators = {m.separator for m in maps if m.sequences}
    if len(separators) > 1:
        raise UserError(
            f"the models' sequences have different separators, {sorted(separators)}; score the "
            f"models of each table separately"
        )

    def names(fields: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(fields))

    return Columns(
        profile=names(field.column for m in maps for field in m.categories),
        numeric=names(field.column for m in maps for field in m.numeric),
        sequences=names(field.column for m in maps for field in m.sequences),
        targets=(),
        event_time=event_time,
        row_time=row_time,
        separator=next(iter(separators), SEPARATORS[0]),
    )
