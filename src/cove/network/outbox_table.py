"""The table of the outbox, as the dispatcher uses it: reading, taking over, deleting. Part of `cove.network.outbox`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa
import structlog

from cove.db import locks
from cove.network.models import outbox
from cove.network.rows import Row
from cove.network.transaction import OutboxEntry

log = structlog.get_logger(__name__)

LOAD_MAX = 256
"""Rows read or taken over at once."""

_c = outbox.c
_p = sa.bindparam
_after = sa.select(outbox).where(_c.sender == _p("me"), _c.id > _p("last")).order_by(_c.id).limit(_p("most"))
_not_mine = (_c.sender != _p("me"), _c.sender != _p("adopter"))
_old = (
    sa.select(outbox)
    .where(sa.or_(_c.sender == _p("me"), _c.sender == _p("adopter")), _c.created_at < _p("before"))
    .order_by(_c.id)
    .limit(_p("most"))
)
_others = sa.select(_c.sender, _c.host, sa.func.min(_c.created_at)).where(*_not_mine).group_by(_c.sender, _c.host)
_delete = sa.delete(outbox).where(_c.id >= _p("low"), _c.id <= _p("high"))


@dataclass(frozen=True, slots=True)
class Sender:
    """A server process: the name on its own rows, and that on rows which it took over from others.

    They are two, as only the ids of the former grow in the order in which the process learns of them.
    """

    me: str
    adopter: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows of another sender for one host (None: for all): the time of the oldest, in seconds since the epoch."""

    sender: str
    host: str | None
    oldest: float


def after(connection: sa.Connection, me: str, last: int) -> Sequence[Row]:
    """The next rows of `me` behind an id, oldest first."""
    return connection.execute(_after, {"me": me, "last": last, "most": LOAD_MAX}).mappings().all()


def older(connection: sa.Connection, sender: Sender, before: float) -> Sequence[Row]:
    """The rows of a process from before a time, oldest first."""
    values = {"me": sender.me, "adopter": sender.adopter, "before": before, "most": LOAD_MAX}
    return connection.execute(_old, values).mappings().all()


def of_others(connection: sa.Connection, sender: Sender) -> list[Waiting]:
    """What rows of other senders there are."""
    values = {"me": sender.me, "adopter": sender.adopter}
    return [Waiting(*row) for row in connection.execute(_others, values)]


def take_over(connection: sa.Connection, sender: Sender, wanted: Iterable[Waiting], now: float) -> list[Row]:
    """Take the rows of others that `wanted` tells of; returns them, oldest first.

    One process at a time: else the rows of one sender would be divided, and sent out of their order.
    """
    locks.lock(connection, "outbox", "take over")
    wanted = list(wanted)
    hosts = {each.host for each in wanted}
    for_hosts = _c.host.in_(sorted(host for host in hosts if host is not None))
    chosen = (
        sa.select(_c.id)
        .where(
            _c.sender.in_(sorted({each.sender for each in wanted})),
            sa.or_(for_hosts, _c.host.is_(None)) if None in hosts else for_hosts,
        )
        .order_by(_c.id)
        .limit(LOAD_MAX)
        .with_for_update(skip_locked=True)  # what its sender is just deleting has been sent
    )
    taken = sa.update(outbox).where(_c.id.in_(chosen)).values(sender=sender.adopter, created_at=now).returning(outbox)
    return sorted(connection.execute(taken).mappings(), key=lambda row: int(row["id"]))


def drop(connection: sa.Connection, hosts: Iterable[str | None], before: float) -> int:
    """Delete rows for `hosts` from before a time; returns how many."""
    dropped = 0
    for host in hosts:
        of_host = _c.host.is_(None) if host is None else _c.host == host
        dropped += connection.execute(sa.delete(outbox).where(of_host, _c.created_at < before)).rowcount
    return dropped


def delete(connection: sa.Connection, ids: Sequence[int]) -> None:
    """Delete rows."""
    connection.execute(_delete, [{"low": low, "high": high} for low, high in spans(ids)])


def spans(ids: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of consecutive ids: a deletion never names an id that was not sent."""
    found: list[tuple[int, int]] = []
    for number in ids:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def entry_of(row: Row) -> OutboxEntry | None:
    """The message in a row; None for one that cannot be read (and must not hold up those that are behind it)."""
    try:
        payload = msgspec.json.decode(row["payload"])
    except (msgspec.MsgspecError, RecursionError) as error:
        log.error("message dropped", id=row["id"], method=row["method"], error=str(error))
        return None
    return OutboxEntry(row["id"], row["network_id"], row["method"], row["host"], payload)
