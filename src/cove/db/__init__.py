"""The control database: one `Database` object that runs whole transactions on worker threads.

`schema.metadata` is what every package declares its tables on; `migrations/` takes an older database to that schema.
"""

from __future__ import annotations

from cove.db.database import Database
from cove.db.errors import (
    DatabaseBusy,
    DatabaseContention,
    DatabaseError,
    DatabaseUnavailable,
    OutcomeUnknown,
    UnsupportedDatabase,
)
from cove.db.schema import metadata

__all__ = [
    "Database",
    "DatabaseBusy",
    "DatabaseContention",
    "DatabaseError",
    "DatabaseUnavailable",
    "OutcomeUnknown",
    "UnsupportedDatabase",
    "metadata",
]
