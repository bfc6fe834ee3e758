"""Named locks inside write transactions: what would be decided twice is decided by one transaction at a time.

`lock(connection, "network", network_id)` holds until the transaction ends. On SQLite there is one writer, and nothing
to do. On PostgreSQL they are advisory locks, taken so that they cannot end in a deadlock:

* a transaction *waits* for locks only while it holds nothing at all, as far as is known here: whoever locks rows first
  says so with `holds_rows`;
* what is wanted later is only *tried*; if another transaction has it, LockBusy undoes the function, and it is run again
  in a transaction that begins with all the locks that the function is known to want, in ascending order.

So a function takes its locks before it changes rows that others change too, and must let LockBusy pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa

_KEY = "cove.db.locks"
_wait = sa.text("SELECT pg_advisory_xact_lock(:number)")
_try = sa.text("SELECT pg_try_advisory_xact_lock(:number)")
_wait_all = sa.text("SELECT pg_advisory_xact_lock(number) FROM unnest(CAST(:numbers AS bigint[])) AS number")


class LockBusy(Exception):
    """Another transaction has the lock. `cove.db.batching` runs the function again."""


@dataclass(slots=True)
class TransactionLocks:
    """What the transaction under way on a connection holds, and what its present function has asked for."""

    held: set[int] = field(default_factory=set)
    asked: set[int] = field(default_factory=set)
    may_wait: bool = True
    """Nothing is held and nothing was changed yet in this transaction."""

    def begin(self) -> None:
        """A transaction begins."""
        self.held.clear()
        self.asked.clear()
        self.may_wait = True

    def undo_to(self, held: frozenset[int]) -> None:
        """A savepoint was gone back to: the locks taken since then are free again."""
        self.held.intersection_update(held)


def lock(connection: sa.Connection, kind: str, key: str) -> None:
    """Hold (kind, key) until the end of the transaction. Raises LockBusy; or the database's error after 5 s."""
    if connection.dialect.name != "postgresql":
        return
    number = lock_number(kind, key)
    locks: TransactionLocks | None = connection.info.get(_KEY)
    if locks is None:  # not a connection of the writer thread
        connection.execute(_wait, {"number": number})
        return
    locks.asked.add(number)
    if number in locks.held:
        return
    if locks.may_wait and not locks.held:
        connection.execute(_wait, {"number": number})
    elif not connection.execute(_try, {"number": number}).scalar_one():
        raise LockBusy(f"another transaction has {kind} {key}")
    locks.held.add(number)


def holds_rows(connection: sa.Connection) -> None:
    """Rows were locked (SELECT … FOR UPDATE): from here to its end the transaction only tries for locks."""
    locks: TransactionLocks | None = connection.info.get(_KEY)
    if locks is not None:
        locks.may_wait = False


def lock_number(kind: str, key: str) -> int:
    """The advisory lock's number: 64 bits, signed. Two names that share one only wait for each other needlessly."""
    return int.from_bytes(hashlib.blake2b(f"{kind}\0{key}".encode(), digest_size=8).digest(), "big", signed=True)


def track(connection: sa.Connection) -> TransactionLocks:
    """Have the locks of this connection's transactions counted from now on."""
    locks: TransactionLocks = connection.info.setdefault(_KEY, TransactionLocks())
    return locks


def take_first(connection: sa.Connection, locks: TransactionLocks, numbers: Iterable[int]) -> None:
    """Wait for all of these at the beginning of a transaction, in the one order that everybody uses."""
    wanted = sorted(numbers)
    if wanted:
        connection.execute(_wait_all, {"numbers": wanted})
        locks.held.update(wanted)
