"""An earlier feature map, extended by the categories and tokens of newer rows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..common.errors import UserError
from .feature_map import CategoryField, FeatureMap, LevelField, SequenceField
from .item_vectors import ItemVectors
from .kinds import extended_kinds

Field = CategoryField | LevelField | SequenceField


def extended(old: FeatureMap, new: FeatureMap) -> FeatureMap:
    """The fields of `old` with the words and tokens of both, fitted on the rows of `new`.

    Ranges, knots and blocks of numeric columns stay those of `old`: its weights were trained with
    them. Vectors of items are those of `new`. Raises UserError if the two have
    different columns.
    """
    _check_columns(old, new)
    words = {field.column: field.vocabulary for field in new.categories}
    numbers: dict[str, Sequence[float]] = {f.column: f.vocabulary for f in new.ids}
    tokens = {f.column: f.vocabulary for f in new.sequences}

    def categories(fields: Sequence[CategoryField]) -> list[CategoryField]:
        return [CategoryField(f.column, sorted({*f.vocabulary, *words[f.column]})) for f in fields]

    sequences, targets = [], []
    # The words of tokens in shared vocabularies.
    pairs = [*zip(old.sequences, old.targets), *zip(new.sequences, new.targets)]
    name_of = {
        t: w
        for s, target in pairs
        if s.shared_with
        for t, w in zip(s.vocabulary, target.vocabulary)
    }
    for sequence, target in zip(old.sequences, categories(old.targets)):
        merged = sorted({*sequence.vocabulary, *tokens[sequence.column]})
        if sequence.shared_with:
            # Its tokens come first, in their order.
            as_text = [name_of[token] for token in merged]
            others = sorted({*target.vocabulary}.difference(as_text))
            target = CategoryField(target.column, [*as_text, *others])
            sequence = replace(sequence, other_words=len(others))
        sequences.append(replace(sequence, vocabulary=merged))
        targets.append(target)
    profile, context = categories(old.profile), categories(old.context)
    return replace(
        old,
        profile=profile,
        sequences=sequences,
        targets=targets,
        context=context,
        kinds=extended_kinds(old, new, targets, [*profile, *context]),
        item_vectors=[*_moved_vectors(new, targets)],
        ids=[LevelField(f.column, sorted({*f.vocabulary, *numbers[f.column]})) for f in old.ids],
        min_count=new.min_count,
        separator=new.separator,
        fitted_on=new.fitted_on,
    )


def _moved_vectors(new: FeatureMap, targets: Sequence[CategoryField]) -> Iterator[ItemVectors]:
    """The vectors of `new`, by the indices of the extended targets."""
    before, after = ({t.column: t for t in fields} for fields in (new.targets, targets))
    target_of = {sequence.column: sequence.shared_with for sequence in new.sequences}
    for items in new.item_vectors:
        target = target_of[items.sequence] or ""
        yield items.with_codes(places(before[target], after[target]))


def places(old: Field, new: Field) -> np.ndarray:
    """The index in `new` of each index of `old`, int64 [old.size]; a shared sequence has none."""
    first = old.size - len(old.vocabulary)
    index = {word: i for i, word in enumerate(new.vocabulary, first)}
    return np.array([*range(first), *(index[word] for word in old.vocabulary)], np.int64)


def _check_columns(old: FeatureMap, new: FeatureMap) -> None:
    """Raise UserError for a column that only one of two feature maps has, or in another role."""
    if other := sorted(_roles(old) ^ _roles(new)):
        column, role, _ = other[0]
        raise UserError(
            f"train.start_from: column {column!r} ({role}) is used differently by the earlier "
            f"model; a warm start needs the same columns: set `columns` as they were, or "
            f"start_from to null"
        )


def _roles(feature_map: FeatureMap) -> set[tuple[str, str, str]]:
    """Each column with its role and what it belongs to."""
    pairs = zip(feature_map.sequences, feature_map.targets)
    roles = {(s.column, "sequences", f"{t.column} {bool(s.shared_with)}") for s, t in pairs}
    for role in ("profile", "numeric", "context", "ids"):
        roles |= {(field.column, role, "") for field in getattr(feature_map, role)}
    if feature_map.event_time:
        roles.add((feature_map.event_time, "times", ""))
    return roles
