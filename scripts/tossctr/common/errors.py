"""Exceptions whose message is for the user, and short forms of errors and of lists of names."""

import difflib
from collections.abc import Sequence


class UserError(Exception):
    """A mistake in the user's data, files or settings.

    The message says what was wrong, where (file, column, row count, an example) and what to do.
    Scripts print it without a traceback.
    """


class ImpossibleNetworkError(UserError, ValueError):
    """Settings of a network that contradict one another or the table."""


class NotEnoughMemoryError(UserError):
    """A network or its training does not fit into memory."""


class NotFiniteError(UserError):
    """A training's loss or validation metrics are not finite."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its name if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def row_name(row: int) -> str:
    """A row, whose number begins at 0, as messages name it: rows count from 1."""
    return f"row {row + 1} (from 1)"


def some_of(names: Sequence[str], most: int) -> str:
    """The first names, at most `most`, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that is most similar to `name`; None if no name is similar."""
    near = difflib.get_close_matches(name, known, n=1)
    return near[0] if near else None
