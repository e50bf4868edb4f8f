"""The one exception that is meant for the user's eyes, and the short form of all others."""

import errno


class UserError(Exception):
    """A mistake in the user's data, files or settings.

    The message says what was wrong, where (file, column, row count, an example) and what to do.
    Scripts print it without a traceback.
    """


class NotEnoughMemoryError(UserError):
    """A network, or what its training needs, does not fit into the memory there is."""


class NotFiniteError(UserError):
    """A training whose loss or validation metrics are no finite numbers."""


def is_of_machine(error: BaseException) -> bool:
    """True for an error that says nothing about a file's content, which may be sound."""
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError)
        and error.errno in (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ESTALE)
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its name if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
