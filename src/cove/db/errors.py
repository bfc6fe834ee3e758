"""What can go wrong with the control database, as its users see it."""

from __future__ import annotations

from cove.errors import CoveError


class DatabaseError(CoveError):
    """The control database cannot be opened or used."""


class UnsupportedDatabase(DatabaseError):
    """The URL names a database that this version does not have."""


class DatabaseBusy(DatabaseError):
    """Nothing was done, and the same request may succeed later."""


class DatabaseContention(DatabaseBusy):
    """A transaction lost against others as often as it may be run. `attempts` says how often that was."""

    def __init__(self, message: str, attempts: int) -> None:
        super().__init__(message)
        self.attempts = attempts


class DatabaseUnavailable(DatabaseBusy):
    """The database server cannot be reached."""


class OutcomeUnknown(DatabaseError):
    """The connection broke between a commit and its answer: the changes are in force, or they are not."""
