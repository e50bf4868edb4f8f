"""An earlier feature map, extended by the categories and tokens of newer rows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..common.errors import UserError
from .feature_map import CategoryField, FeatureMap, LevelField, SequenceField
from .numeric import NumericField

Field = CategoryField | LevelField | SequenceField


def extended(old: FeatureMap, new: FeatureMap) -> FeatureMap:
    """The fields of `old` with the words and tokens of either; it belongs to the rows of `new`.

    Ranges, knots, blocks and levels of numeric columns stay those of `old`: its weights were
    trained with them. Raises UserError where the two differ in their columns.
    """
    _check_columns(old, new)
    words = {f.column: f.vocabulary for f in (*new.profile, *new.targets, *new.context)}
    numbers: dict[str, Sequence[float]] = {f.column: f.vocabulary for f in new.ids}
    tokens = {f.column: f.vocabulary for f in new.sequences}

    def categories(fields: Sequence[CategoryField]) -> list[CategoryField]:
        return [CategoryField(f.column, sorted({*f.vocabulary, *words[f.column]})) for f in fields]

    sequences, targets = [], []
    # The words of tokens in shared vocabularies.
    pairs = [pair for found in (old, new) for pair in zip(found.sequences, found.targets)]
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
    return replace(
        old,
        profile=categories(old.profile),
        sequences=sequences,
        targets=targets,
        context=categories(old.context),
        ids=[LevelField(f.column, sorted({*f.vocabulary, *numbers[f.column]})) for f in old.ids],
        min_count=new.min_count,
        fitted_on=new.fitted_on,
    )


def places(old: Field, new: Field) -> np.ndarray:
    """The index in `new` of each index of `old`, int64 [old.size]; a shared sequence has none."""
    first = old.size - len(old.vocabulary)
    index = {word: i for i, word in enumerate(new.vocabulary, first)}
    return np.array([*range(first), *(index[word] for word in old.vocabulary)], np.int64)


def _check_columns(old: FeatureMap, new: FeatureMap) -> None:
    """Raise UserError for a column that only one of two feature maps has, or in another role."""
    before, now = _roles(old), _roles(new)
    if other := before ^ now:
        column = min(other)[0]
        was, is_now = (
            " and ".join(sorted(role for name, role in roles if name == column)) or "unused"
            for roles in (before, now)
        )
        raise UserError(
            f"train.start_from: column {column!r} is {is_now}, and for the earlier model it was "
            f"{was}; a training goes on with the same columns: set `columns` as they were, or "
            f"start_from to null"
        )


def _roles(found: FeatureMap) -> set[tuple[str, str]]:
    """Each column with what it is, in words."""
    named: dict[str, Sequence[Field | NumericField]]
    named = {"profile": found.profile, "numeric": found.numeric}
    named["context"] = [*found.context, *found.ids]
    roles = {(field.column, role) for role, fields in named.items() for field in fields}
    for sequence, target in zip(found.sequences, found.targets):
        shared = " with its embedding" if sequence.shared_with else ""
        roles.add((sequence.column, f"the history of {target.column!r}{shared}"))
        roles.add((target.column, f"the target of {sequence.column!r}{shared}"))
    return roles | ({(found.event_time, "the events' times")} if found.event_time else set())
