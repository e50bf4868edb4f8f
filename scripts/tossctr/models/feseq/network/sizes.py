"""Sizes of a network's tables, which come from the data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldSizes:
    """Table sizes of the fields (padding included) and the number of numeric fields.

    `context`: sizes of the categories that go to the output network alone. `missing`: blocks of
    columns that are missing together. `shared`: for each sequence field, true if it uses the table
    of its target field.
    """

    profile: tuple[int, ...]
    target: tuple[int, ...]
    sequence: tuple[int, ...]
    numeric: int
    context: tuple[int, ...] = ()
    missing: int = 0
    shared: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not self.shared:
            object.__setattr__(self, "shared", (False,) * len(self.sequence))
