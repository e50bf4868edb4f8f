"""What clicks are counted of: categories, and a history's tokens."""

from collections.abc import Sequence
from typing import NamedTuple

from ...features.feature_map import CategoryField, FeatureMap, LevelField
from .click_rates import Places


class Counted(NamedTuple):
    """A category, or a sequence's tokens, with or without its target, to count clicks of."""

    name: str
    feature_set: str
    places: Places
    # The place of the category, or of the target, among the fields.
    field: int
    sequence: int | None = None


def all_counted(
    feature_map: FeatureMap, fields: Sequence[CategoryField | LevelField], few: Sequence[int]
) -> list[Counted]:
    """What the sets `clicks` and `ids` count.

    `fields` are all categories, `few` the places of those of few values.
    """
    taken = {field.column for field in (*fields, *feature_map.sequences)}
    counted = []
    for i, each in enumerate(fields):
        is_item = each in feature_map.targets
        is_id = isinstance(each, LevelField) or (i not in few and not is_item)
        counted += [Counted(each.column, "ids" if is_id else "clicks", Places(1, each.size), i)]
    for i, sequence in enumerate(feature_map.sequences):
        place, name, size = len(feature_map.profile) + i, sequence.column, sequence.size
        target = fields[place]
        both = _other_than(taken, f"{name} with {target.column}")
        counted += [
            Counted(name, "clicks", Places(1, size), place, i),
            Counted(both, "clicks", Places(target.size, size), place, i),
        ]
    return counted


def _other_than(taken: set[str], name: str) -> str:
    """The name, primed if a column has it, as a column may have any name; now taken."""
    while name in taken:
        name += "'"
    taken.add(name)
    return name
