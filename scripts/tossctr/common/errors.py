"""Exceptions with messages for the user, and helpers that format these messages."""

import difflib
from collections.abc import Sequence


class UserError(Exception):
    """An error in the user's data, files or settings.

    The message says what is wrong, where (file, column, row count, an example) and what to do.
    Scripts print the message without a traceback.
    """


class ImpossibleNetworkError(UserError, ValueError):
    """The settings of a network contradict each other or the table."""


class NotEnoughMemoryError(UserError):
    """A network or its training does not fit into memory."""


class NotFiniteError(UserError):
    """The loss or a validation metric became NaN or infinite during training."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the error's type if the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def row_name(row: int) -> str:
    """A row's name in messages: 'data row 8 (1-based)' for the 0-based number `row` 7.

    A CSV file's header is no data row.
    """
    return f"data row {row + 1} (1-based)"


def join_names(names: Sequence[str], limit: int) -> str:
    """The first `limit` names, separated by commas, and the number of further names, if any."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def closest_name(name: str, candidates: Sequence[str]) -> str | None:
    """The candidate that is most similar to `name`; None if no candidate is similar."""
    matches = difflib.get_close_matches(name, candidates, n=1)
    return matches[0] if matches else None
