"""Retrying a write transaction that lost against another one.

Uniqueness of MAC and IP addresses is the database's business (constraints), not that of checks before the insert; a
transaction that runs into one is run again, and picks another address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cove.db import Database, DatabaseContention, OutcomeUnknown
from cove.network import errors

T = TypeVar("T")

ATTEMPTS_MAX = 10


class Retry(Exception):
    """Rows changed between a transaction's look and its leap; the whole transaction may be run again."""


async def write_retrying(
    db: Database, fn: Callable[[sa.Connection], T], *, after_commit: Callable[[T], None] | None = None
) -> T:
    """`db.write`, again if it met a constraint or a concurrent change.

    Raises DatabaseRetriesExhausted, OutcomeUnknown. Deadlocks and the like are run again below this, by the database.
    """
    last: Exception | None = None
    for _ in range(ATTEMPTS_MAX):
        try:
            return await db.write(fn, after_commit=after_commit)
        except (IntegrityError, Retry) as error:
            last = error
        except DatabaseContention as error:
            raise errors.DatabaseRetriesExhausted(attempts=error.attempts) from error
        except OutcomeUnknown as error:
            raise errors.OutcomeUnknown(str(error)) from error
    raise errors.DatabaseRetriesExhausted(attempts=ATTEMPTS_MAX) from last
