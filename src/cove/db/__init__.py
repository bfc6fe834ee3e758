"""The control database: one `Database` object that runs whole transactions on worker threads.

`schema.metadata` is what every package declares its tables on; `migrations/` takes an older file to that schema.
"""

from __future__ import annotations

from cove.db.database import Database, DatabaseBusy, DatabaseError, UnsupportedDatabase
from cove.db.schema import metadata

__all__ = ["Database", "DatabaseBusy", "DatabaseError", "UnsupportedDatabase", "metadata"]
