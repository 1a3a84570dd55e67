"""The exceptions that are fastconv's own; everything else is a built-in error."""


class BackendUnavailableError(RuntimeError):
    """A backend was asked for by name and is absent here; the message says how to get it."""
