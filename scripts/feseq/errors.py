"""The one exception that is meant for the user's eyes."""


class UserError(Exception):
    """A mistake in the user's data, files or settings.

    The message says what was wrong, where (file, column, row count, an example) and what to do.
    Scripts print it without a traceback.
    """
