"""The feature map: vocabularies and numeric ranges, fitted on the train split alone.

Indices of a category: 0 padding, 1 out of vocabulary, 2 missing, from 3 on its vocabulary.
Indices of a sequence: 0 padding, 1 out of vocabulary, from 2 on its vocabulary. A sequence that
shares its target's vocabulary has the target's indices: token 12 has the index of category '12',
and token a12 that of category 'a12'.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from ..common.errors import UserError
from ..common.files import read_json, write_json
from ..common.progress import progress
from ..config.columns import Columns
from ..config.names import check_name
from .categories import ByCode, codes_of, is_number, tokens_of
from .history_statistics import HistoryColumns
from .numeric import SAMPLE_ROWS, NumericField, NumericFit
from .opening import AllRows, Files, open_table
from .store import of_other_draw
from .table import Table

PADDING, OUT_OF_VOCABULARY, MISSING = 0, 1, 2
FIRST_CATEGORY, FIRST_TOKEN = 3, 2
# A column with more categories has many: these are not taken one by one where each is an input.
MOST_CATEGORIES = 64
# Tokens below this are counted and looked up in plain arrays (16 MiB), others by search.
DENSE_LIMIT = 1 << 21

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CategoryField:
    """A categorical column and the raw strings that have their own index."""

    column: str
    vocabulary: list[str]

    @property
    def size(self) -> int:
        """Rows of this field's embedding table."""
        return FIRST_CATEGORY + len(self.vocabulary)

    @cached_property
    def index(self) -> dict[str, int]:
        """The index of each word."""
        return {word: i for i, word in enumerate(self.vocabulary, FIRST_CATEGORY)}


@dataclass(frozen=True)
class LevelField:
    """A numeric column and those of its values, ascending, that have their own index."""

    column: str
    vocabulary: list[float]

    @property
    def size(self) -> int:
        """Rows of this field's embedding table."""
        return FIRST_CATEGORY + len(self.vocabulary)


@dataclass(frozen=True)
class SequenceField:
    """A sequence column and its tokens (`categories.py`), ascending.

    If the vocabulary is shared with the target column `shared_with`, these tokens come first in
    the target's vocabulary, before `other_words` more words that are no tokens.
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
class FeatureMap:
    """The fields of a model, in the order of its inputs. `sequences[i]` belongs to `targets[i]`.

    `context`: categories for the output network alone. `ids`, and `levels` of few distinct values:
    numeric columns that a model may take as such categories, too.
    `statistics` are those of the whole histories, as numeric columns; their ranges are a sample's.
    `event_time` is the column of the events' times, which need no vocabulary; None without times.
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
    ids: list[LevelField] = field(default_factory=list)
    levels: list[LevelField] = field(default_factory=list)
    statistics: list[NumericField] = field(default_factory=list)

    def for_networks(self) -> "FeatureMap":
        """The same; in place of no sequence, one that is always empty, whose target is missing."""
        if self.sequences:
            return self
        return replace(self, sequences=[SequenceField("", [])], targets=[CategoryField("", [])])

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, as stored in JSON and in model files."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "FeatureMap":
        """The opposite of `to_dict`; keys of other versions are ignored."""
        return _of_plain(cls, plain)

    def write(self, path: Path) -> None:
        """Write as JSON, complete or not at all."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: Path) -> "FeatureMap":
        """Read what `write` wrote."""
        return read_json(path, cls.from_dict, kind="feature_map.json")


def _of_plain(kind: Any, plain: Mapping[str, Any]) -> Any:
    """A dataclass of plain values, and lists of such in its fields; other keys are ignored."""
    found = {}
    for name, hint in get_type_hints(kind).items():
        if name in plain:
            inner = next(iter(get_args(hint)), None)
            is_nested = is_dataclass(inner) and get_origin(hint) is list
            found[name] = [_of_plain(inner, x) for x in plain[name]] if is_nested else plain[name]
    return kind(**found)


def fit_feature_map(
    train_h5: Files, columns: Columns, min_count: int, valid_h5: Files = ()
) -> FeatureMap:
    """Vocabularies of values that occur at least `min_count` times, and numeric ranges.

    One pass in blocks over the train rows, or over these and the validation rows. Raises UserError
    for a test table.
    """
    with open_table(AllRows(train_h5, valid_h5) if valid_h5 else train_h5) as table:
        require_columns(
            table, columns.categorical, columns.numeric, columns.sequences, columns.event_time
        )
        if "draw" not in table.source:
            raise UserError(f"{table.path}: has no train rows; give the H5 files of those")
        words = {name: table.vocabulary(name) for name in table.categorical_columns}
        place = {
            name: ByCode(known, np.arange(1, len(known) + 1), missing=0, other=0)
            for name, known in words.items()
        }
        category_counts = {name: np.zeros(len(words[name]) + 1, np.int64) for name in words}
        token_counts = {name: TokenCounts(table.vocabulary(name)) for name in columns.sequences}
        numeric = NumericFit(table.numeric_columns, columns.ids)
        targets = dict(zip(columns.sequences, columns.targets))
        histories = HistoryColumns(
            table, {s: target if s in columns.shared else None for s, target in targets.items()}
        )
        statistics = NumericFit(histories.columns)
        with progress("counted", table.rows) as counting:
            for block in table.blocks(columns.sequences):
                for i, (name, counts) in enumerate(category_counts.items()):
                    places = place[name](block.categorical[:, i])
                    counts += np.bincount(places, minlength=len(counts))
                for name, token_count in token_counts.items():
                    token_count.add(block.sequences[name].values)
                numeric.add(block.numeric)
                if statistics.sample_rows < SAMPLE_ROWS:
                    statistics.add(histories(block, np.arange(len(block))))
                counting.advance(len(block))

    def category(name: str) -> CategoryField:
        enough = np.flatnonzero(category_counts[name][1:] >= min_count)
        return CategoryField(name, [words[name][place] for place in enough])

    def pair(sequence: str, target: str) -> tuple[SequenceField, CategoryField]:
        tokens = token_counts[sequence]
        if sequence not in columns.shared:
            return SequenceField(sequence, tokens.at_least(min_count)), category(target)
        counts = dict(zip(words[target], category_counts[target][1:].tolist()))
        return _share(sequence, tokens, target, counts, min_count)

    pairs = [pair(*names) for names in targets.items()]
    return FeatureMap(
        profile=[category(name) for name in columns.profile],
        targets=[target for _, target in pairs],
        sequences=[sequence for sequence, _ in pairs],
        numeric=numeric.fields(columns.numeric),
        min_count=min_count,
        event_time=columns.event_time,
        fitted_on=table.identity,
        context=[category(name) for name in columns.context],
        ids=[LevelField(*item) for item in numeric.id_values(min_count).items()],
        levels=[LevelField(*item) for item in numeric.levels(columns.numeric, min_count).items()],
        statistics=statistics.fields(histories.columns),
    )


def _share(
    sequence: str, tokens: "TokenCounts", target: str, words: dict[str, int], min_count: int
) -> tuple[SequenceField, CategoryField]:
    """Both fields, with a vocabulary of what occurs often enough in the two columns together.

    `words` maps the target's words to their counts, which are added to `tokens`. In a sequence of
    integers only integers can be events.
    """
    events = {w: count for w, count in words.items() if tokens.texts or is_number(w)}
    named = [*events, *tokens.texts]
    name_of = dict(zip(tokens_of(codes_of(named)).tolist(), named))
    if words and not any(map(tokens.count, [*name_of][: len(events)])):
        logger.warning(
            "share_embedding: no value of column %r, such as %s, is an event of %r: are both "
            "written in the same way? Token 012 is 12",
            target,
            ", ".join(map(repr, [*words][:3])),
            sequence,
        )
    tokens.add_counts(zip(name_of, events.values()))
    known = tokens.at_least(min_count)
    others = sorted(w for w, n in words.items() if n >= min_count and w not in events)
    return (
        SequenceField(sequence, known, target, len(others)),
        CategoryField(target, [*(name_of.get(token, str(token)) for token in known), *others]),
    )


class TokenCounts:
    """Counts tokens: small ones in an array, others in a dictionary.

    `texts` are those that are no integers.
    """

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.texts = texts
        self.dense = np.zeros(DENSE_LIMIT, np.int64)
        self.sparse: dict[int, int] = {}

    def add(self, tokens: np.ndarray) -> None:
        is_dense = tokens < DENSE_LIMIT
        dense = tokens if is_dense.all() else tokens[is_dense]
        counts = np.bincount(dense.astype(np.int64, copy=False))
        self.dense[: len(counts)] += counts
        if not is_dense.all():
            unique, counts = np.unique(tokens[~is_dense], return_counts=True)
            self.add_counts(zip(unique.tolist(), counts.tolist()))

    def add_counts(self, counts: Iterable[tuple[int, int]]) -> None:
        for token, count in counts:
            if token < DENSE_LIMIT:
                self.dense[token] += count
            else:
                self.sparse[token] = self.sparse.get(token, 0) + count

    def count(self, token: int) -> int:
        return int(self.dense[token]) if token < DENSE_LIMIT else self.sparse.get(token, 0)

    def at_least(self, min_count: int) -> list[int]:
        dense = np.flatnonzero(self.dense >= max(1, min_count)).tolist()
        return dense + sorted(t for t, count in self.sparse.items() if count >= min_count)


def require_columns(
    table: Table,
    categorical: Iterable[str],
    numeric: Iterable[str],
    sequences: Iterable[str],
    event_time: str | None,
) -> None:
    """Raise UserError if `table` lacks one of these columns."""
    # A column of events' times counts only if the rows have times as well.
    times = table.sequence_columns if table.has_times else []
    for wanted, present in (
        (categorical, table.categorical_columns),
        (numeric, table.numeric_columns),
        (sequences, table.sequence_columns),
        ([event_time] if event_time else [], times),
    ):
        missing = [name for name in wanted if name not in present]
        if missing:
            raise UserError(
                f"{table.path}: lacks {len(missing)} columns that the features need, for example "
                f"{missing[0]!r}; it was made with other columns.use: delete it and run snakemake "
                f"again, or use a model of these columns"
            )


def check_one_draw(
    feature_map: FeatureMap,
    train: Table,
    valid: Table,
    full_name: str = "",
    fitted: object = "the feature map",
) -> None:
    """Raise UserError unless the files are of one draw; rows of two draws may overlap.

    The files must also be of the size of the model with this `full_name`. `fitted` names what holds
    the feature map.
    """
    check_name(train.path, train.source.get("size", ""), full_name.partition("/")[0])
    for other, identity in ((valid.path, valid.identity), (fitted, feature_map.fitted_on)):
        if identity != train.identity:
            raise of_other_draw(train.path, other)


def check_same_kind(table: Table, simulated: bool) -> None:
    """Raise UserError if a table is simulated and a model's train rows are not, or the reverse."""
    check_kind(table.path, table.source["simulated"], simulated)


def check_kind(where: object, found: bool, simulated: bool) -> None:
    """The same for the rows of `where`; `found` is true if they are simulated."""
    if found != simulated:
        names = {True: "simulated", False: "real"}
        raise UserError(
            f"{where} holds {names[not simulated]} data, and the model was trained on "
            f"{names[simulated]} data; the two are never mixed: take both raw files from one source"
        )


def read_columns(maps: Sequence[FeatureMap], row_time: str | None, id_column: str = "") -> Columns:
    """What models with these maps read of a table, each column once; all categories are profile.

    `row_time` is the column of the rows' times. Raises UserError if it is needed and None, or the
    reverse.
    """
    event_times = {found.event_time for found in maps if found.event_time}
    if len(event_times) > 1:
        raise UserError(f"the models take the events' times from other columns: {event_times}")
    if row_time is not None and not event_times:
        raise UserError(f"--row_time is {row_time!r}, and the model takes no times; leave it out")
    if event_times and row_time is None:
        raise UserError(
            "the model takes the time of each row, and no column is named for it; give it to "
            "score.py as --row_time, or as columns.groups.<group>.times in the config"
        )

    def names(fields: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(fields))

    categories = (f.column for m in maps for f in (*m.profile, *m.targets, *m.context))
    return Columns(
        label="",
        id=id_column,
        profile=names(categories),
        numeric=names(field.column for found in maps for field in found.numeric),
        sequences=names(field.column for found in maps for field in found.sequences),
        targets=(),
        group_of={},
        event_time=next(iter(event_times), None),
        row_time=row_time,
    )
