"""The feature map: vocabularies and numeric ranges of the train rows (in a refit, of all rows).

Indices of a category: 0 padding, 1 out of vocabulary, 2 missing, from 3 on its vocabulary.
Indices of a sequence: 0 padding, 1 out of vocabulary, from 2 on its vocabulary. A sequence that
shares its target's vocabulary has the target's indices: token 12 has the index of category '12',
and token a12 that of category 'a12'.
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
from ..config.names import require_name
from ..datasets.table import Table, draw_mismatch, require_drawn
from .numeric import NumericField

PADDING, OUT_OF_VOCABULARY, MISSING = 0, 1, 2
FIRST_CATEGORY, FIRST_TOKEN = 3, 2
# Only columns with at most this many categories have an input for each category.
MAX_CATEGORIES = 64
# Tokens below this are counted and looked up in plain arrays (16 MiB), others by search.
DENSE_LIMIT = 1 << 21
# Dimensions of an item's vector.
DIMENSIONS = 24


@dataclass(frozen=True)
class CategoryField:
    """A categorical column and the raw strings that have their own index.

    A numeric column's vocabulary is its values, ascending.
    """

    column: str
    vocabulary: list[Any]

    @property
    def size(self) -> int:
        """Rows of this field's embedding table."""
        return FIRST_CATEGORY + len(self.vocabulary)


@dataclass(frozen=True)
class SequenceField:
    """A sequence column and its tokens (`categories.py`), ascending.

    If the vocabulary is shared with the target column `shared_with`, these tokens come first in
    the target's vocabulary, before `other_words` more words that are not tokens.
    """

    column: str
    vocabulary: list[int]
    shared_with: str | None = None
    other_words: int = 0

    @property
    def first_index(self) -> int:
        """Index of the first token of the vocabulary."""
        return FIRST_CATEGORY if self.shared_with else FIRST_TOKEN

    @property
    def size(self) -> int:
        """Rows of this field's embedding table, which is its target's if shared."""
        return self.first_index + len(self.vocabulary) + self.other_words


@dataclass(frozen=True)
class ItemAttribute:
    """A categorical column that is a function of a sequence's items, such as a film's genre.

    `of_code` has the category's index for each index of the sequence, PADDING if unknown.
    """

    column: str
    sequence: str
    of_code: list[int]


@dataclass(frozen=True)
class ItemVectors:
    """The vectors of a sequence's items (`co_occurrence.py`): F folds, K items, D dimensions.

    `fold_of` tells which fold a train row is in: its "period", whose vectors are from older
    periods; its group's "fold"; or that of its "history", by the first event, which all rows of a
    user share.
    `codes`, ascending, are the indices that have a vector. `data` is base64 of float32
    [F + 1, K, D], little-endian: the vectors for each fold, then those for rows without a fold.
    """

    sequence: str
    fold_of: str
    codes: list[int]
    data: str

    @classmethod
    def of(
        cls, sequence: str, fold_of: str, codes: list[int], vectors: np.ndarray
    ) -> "ItemVectors":
        """Item vectors from `vectors` of the `codes`, float32 [F + 1, K, D]."""
        data = base64.b64encode(vectors.astype("<f4").tobytes()).decode()
        return cls(sequence, fold_of, codes, data)

    @cached_property
    def vectors(self) -> np.ndarray:
        """float32 [F + 1, K + 1, D]; item 0, for indices without a vector, has zeros."""
        numbers = np.frombuffer(base64.b64decode(self.data, validate=True), "<f4")
        shaped = numbers.reshape(-1, len(self.codes), DIMENSIONS)
        return np.pad(shaped.astype(np.float32), ((0, 0), (1, 0), (0, 0)))

    def indices(self, size: int) -> np.ndarray:
        """The item in `vectors` for each index of the sequence, int64 [size]."""
        indices = np.zeros(size, np.int64)
        indices[self.codes] = np.arange(1, len(self.codes) + 1)
        return indices

    def without_folds(self) -> "ItemVectors":
        """Only the last vectors, for rows without a fold."""
        return self.of(self.sequence, self.fold_of, self.codes, self.vectors[-1:, 1:])


@dataclass(frozen=True)
class FeatureMap:
    """The fields of a model, in the order of its inputs. `sequences[i]` belongs to `targets[i]`.

    `context`: categories for the output network alone. `ids`: numeric columns that are also such
    categories.
    `statistics`: numeric columns computed from whole histories (`history_statistics.py`,
    `similarities.py`); their ranges are from a sample.
    `event_time` is the column of the events' times, which need no vocabulary; None without times.
    `event_ages` are quantiles of the times from the train rows' events to their rows.
    `item_attributes`: categories that are functions of items.
    `item_vectors`: for histories that share their target's codes.
    `separator` joins the tokens of sequences in text.
    `fitted_on` is the train table's identity.
    """

    profile: list[CategoryField]
    targets: list[CategoryField]
    sequences: list[SequenceField]
    numeric: list[NumericField]
    min_count: int
    fitted_on: str
    event_time: str | None = None
    context: list[CategoryField] = field(default_factory=list)
    ids: list[CategoryField] = field(default_factory=list)
    statistics: list[NumericField] = field(default_factory=list)
    separator: str = SEPARATORS[0]
    event_ages: list[float] = field(default_factory=list)
    item_attributes: list[ItemAttribute] = field(default_factory=list)
    item_vectors: list[ItemVectors] = field(default_factory=list)

    @property
    def categories(self) -> list[CategoryField]:
        """The columns of text: profile, then target, then context."""
        return [*self.profile, *self.targets, *self.context]

    @property
    def context_fields(self) -> list[CategoryField]:
        """The categories for the output network alone."""
        return [*self.context, *self.ids]

    @property
    def category_fields(self) -> list[CategoryField]:
        """All categories: profile, then target, then those of `context_fields`."""
        return [*self.profile, *self.targets, *self.context_fields]

    @property
    def history_columns(self) -> list[str]:
        """The columns of the histories."""
        return [field.column for field in self.sequences]

    def for_networks(self) -> "FeatureMap":
        """This map; if it has no sequence, an empty one with a missing target is added."""
        if self.sequences:
            return self
        return replace(self, sequences=[SequenceField("", [])], targets=[CategoryField("", [])])

    def without_folds(self) -> "FeatureMap":
        """This map, with only the item vectors for rows that are not of its draw."""
        return replace(self, item_vectors=[each.without_folds() for each in self.item_vectors])

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, as stored in JSON and in model files."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "FeatureMap":
        """The inverse of `to_dict`; keys of other versions are ignored."""
        return _from_plain(cls, plain)

    def write(self, path: Path) -> None:
        """Write as JSON, complete or not at all."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: Path) -> "FeatureMap":
        """Read what `write` wrote."""
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
    """Raise UserError if `table` lacks a feature of these columns."""
    # A column of events' times counts only if the rows have times as well.
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
                f"{table.path}: lacks {len(missing)} columns that the features need, such as "
                f"{missing[0]!r}: it was made with another columns.use. Delete the file and run "
                f"snakemake again, or use a model of these columns"
            )


def check_one_draw(
    feature_map: FeatureMap,
    train: Table,
    valid: Table,
    full_name: str = "",
    fitted: object = "the feature map",
) -> None:
    """Raise UserError unless the files are of one draw, since rows of two draws may overlap.

    `train` must have train rows and `valid` validation rows, of the size of the model with this
    `full_name`. Messages call the feature map's file `fitted`.
    """
    for table in (train, valid):
        require_drawn(table)
    require_name(train.path, train.source.get("size", ""), full_name.partition("/")[0])
    if train is not valid and (train.split, valid.split) != ("train", "validation"):
        raise UserError(
            f"{train.path} holds {train.split} rows and {valid.path} {valid.split} rows; give "
            f"train rows to learn from and validation rows to choose by"
        )
    for other, identity in ((valid.path, valid.identity), (fitted, feature_map.fitted_on)):
        if identity != train.identity:
            raise draw_mismatch(train.path, other)


def check_kind(where: object, is_simulated: bool, simulated: bool) -> None:
    """Raise UserError if only one of the rows of `where` and a model's rows are simulated.

    `is_simulated` is true if the rows of `where` are, `simulated` if the model's are.
    """
    if is_simulated != simulated:
        names = {True: "simulated", False: "real"}
        raise UserError(
            f"{where} holds {names[is_simulated]} data, and the model was trained on "
            f"{names[simulated]} data; the two are never mixed: take both raw files from one source"
        )


def read_columns(maps: Sequence[FeatureMap], row_time: str | None, id_column: str = "") -> Columns:
    """The columns to read for these maps, each once; the result's `profile` has all categories.

    `row_time` is the column of the rows' times. Raises UserError if it is None but needed, if it is
    given but not needed, or if the models' sequences have several separators.
    """
    event_times = {m.event_time for m in maps if m.event_time}
    if len(event_times) > 1 or bool(event_times) != (row_time is not None):
        named = ", ".join(sorted(event_times)) or "no column"
        raise UserError(
            f"--row_time is {row_time!r}, and the models take the events' times from {named}: "
            f"only if they take some, name a column of the rows' times, with --row_time or in "
            f"columns.groups.<group>.times of the config"
        )
    separators = {m.separator for m in maps if m.sequences}
    if len(separators) > 1:
        raise UserError(
            f"the models read sequences with several separators, {sorted(separators)}; score with "
            f"the models of one table at a time"
        )

    def names(fields: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(fields))

    return Columns(
        label="",
        id=id_column,
        profile=names(field.column for m in maps for field in m.categories),
        numeric=names(field.column for m in maps for field in m.numeric),
        sequences=names(field.column for m in maps for field in m.sequences),
        targets=(),
        event_time=next(iter(event_times), None),
        row_time=row_time,
        separator=next(iter(separators), SEPARATORS[0]),
    )
