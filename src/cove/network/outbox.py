"""The outbox: messages to agents that commit together with the change they tell of, and the task that sends them.

    transaction: add(...) → rows → commit → Dispatcher.committed(entries) → bus.cast / bus.fanout → rows deleted

After a commit the entries are sent at once, from memory, in the order of the commits. Rows of sent entries are deleted
in batches a little later; a crash before that means they are sent once more at the next start. Agents take a message
twice without harm (revision numbers); what they must never have is a message lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from cove.bus import Bus, BusError, Target
from cove.db import Database
from cove.errors import CoveError
from cove.network.models import outbox
from cove.network.transaction import OutboxEntry, Transaction
from cove.timeline import Timeline

log = structlog.get_logger(__name__)

DHCP_AGENT_TOPIC = "dhcp_agent"

MEMORY_ENTRIES_MAX = 4096
"""Entries kept in memory while the bus is slow; what is beyond is read from the table when its turn comes."""
LOAD_MAX = 256
DELETE_DELAY_S = 0.2
RETRY_DELAY_MIN_S, RETRY_DELAY_MAX_S = 0.05, 5.0
STOP_TIMEOUT_S = 10.0

_encode = msgspec.json.Encoder().encode
_insert = sa.insert(outbox)
_after = sa.select(outbox).where(outbox.c.id > sa.bindparam("last")).order_by(outbox.c.id).limit(LOAD_MAX)
_delete = sa.delete(outbox).where(outbox.c.id >= sa.bindparam("low"), outbox.c.id <= sa.bindparam("high"))


def add(tx: Transaction, network_id: str, method: str, host: str | None, payload: dict[str, Any]) -> None:
    """Put a message into the outbox of this transaction; `host` None is a fanout."""
    result = tx.connection.execute(
        _insert,
        {
            "network_id": network_id,
            "method": method,
            "host": host,
            "payload": _encode(payload).decode(),
            "created_at": tx.now,
        },
    )
    key = result.inserted_primary_key
    assert key is not None
    tx.entries.append(OutboxEntry(int(key[0]), network_id, method, host, payload))


class Dispatcher:
    """Sends the outbox's entries, oldest first, one after the other; so each network's messages keep their order."""

    def __init__(self, db: Database, bus: Bus, timeline: Timeline) -> None:
        self._db = db
        self._bus = bus
        self._timeline = timeline
        self._memory: deque[OutboxEntry] = deque()
        self._behind = True  # there may be rows that are not in memory: first of all those of an earlier run
        self._skipped = 0  # entries that were left to the table
        self._last_id = 0
        self._sent: list[int] = []
        self._wake = asyncio.Event()
        self._sent_some = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._idle = asyncio.Event()

    async def start(self) -> None:
        """Begin with what an earlier run left behind."""
        self._wake.set()
        self._tasks = [
            asyncio.create_task(self._dispatch_forever(), name="outbox-dispatch"),
            asyncio.create_task(self._delete_forever(), name="outbox-delete"),
        ]

    async def stop(self) -> None:
        """Send what can be sent at once, delete the rows of what was sent, end. Unsent rows stay for the next start."""
        if not self._tasks:
            return
        try:
            await asyncio.wait_for(self._idle.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            log.warning("outbox not empty at stop; the rest is sent at the next start", waiting=len(self._memory))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._delete_sent()

    def committed(self, entries: Iterable[OutboxEntry]) -> None:
        """Called on the event loop after each commit, in commit order: send these now."""
        for entry in entries:
            if len(self._memory) >= MEMORY_ENTRIES_MAX:
                self._behind = True
            if self._behind:
                self._skipped += 1
            else:
                self._memory.append(entry)
            self._idle.clear()
        self._wake.set()

    async def drained(self, timeout_s: float) -> None:
        """Wait until every entry committed so far has been sent. Raises TimeoutError."""
        await asyncio.wait_for(self._idle.wait(), timeout_s)

    async def _dispatch_forever(self) -> None:
        load_retry_s = RETRY_DELAY_MIN_S
        while True:
            while self._memory:
                entry = self._memory[0]
                await self._send(entry)
                self._memory.popleft()
                self._last_id = entry.id
                self._sent.append(entry.id)
                self._sent_some.set()
            if self._behind:
                if await self._load():
                    load_retry_s = RETRY_DELAY_MIN_S
                else:
                    await asyncio.sleep(load_retry_s)
                    load_retry_s = min(2 * load_retry_s, RETRY_DELAY_MAX_S)
                continue
            self._wake.clear()
            self._idle.set()
            await self._wake.wait()

    async def _load(self) -> bool:
        """Take rows into memory that were not put there at their commit. False if the database did not give them."""
        # What was skipped before this point is in the table that is read now; what is skipped from here on may not be.
        last, skipped = self._last_id, self._skipped
        try:
            rows = await self._db.read(lambda connection: connection.execute(_after, {"last": last}).mappings().all())
        except (CoveError, SQLAlchemyError, OSError) as error:
            log.warning("outbox not read; trying again", error=str(error))
            return False
        if not rows:
            self._behind = self._skipped != skipped
        for row in rows:
            try:
                payload = msgspec.json.decode(row["payload"])
            except (msgspec.MsgspecError, RecursionError) as error:
                # One row must not hold up all that are behind it. Agents resync from the database.
                log.error("message dropped", id=row["id"], method=row["method"], error=str(error))
                self._last_id = row["id"]
                self._sent.append(row["id"])
                self._sent_some.set()
                continue
            self._memory.append(OutboxEntry(row["id"], row["network_id"], row["method"], row["host"], payload))
        return True

    async def _send(self, entry: OutboxEntry) -> None:
        """Send one entry, waiting and trying again for as long as the bus fails."""
        delay_s = RETRY_DELAY_MIN_S
        while True:
            try:
                args = {"payload": entry.payload}
                if entry.host is None:
                    await self._bus.fanout(DHCP_AGENT_TOPIC, entry.method, args)
                else:
                    await self._bus.cast(Target(DHCP_AGENT_TOPIC, entry.host), entry.method, args)
            except (BusError, CoveError, OSError, TimeoutError) as error:
                log.warning("cast failed; trying again", method=entry.method, error=str(error), after_s=delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, RETRY_DELAY_MAX_S)
                continue
            except Exception:
                # Not the bus's state but this message: sending it again cannot help. Agents resync from the database.
                log.exception("message dropped", method=entry.method, network_id=entry.network_id)
            break
        port = entry.payload.get("port")
        if port is not None:
            self._timeline.mark(port["id"], "cast", method=entry.method, host=entry.host)

    async def _delete_forever(self) -> None:
        while True:
            await self._sent_some.wait()
            await asyncio.sleep(DELETE_DELAY_S)  # let a batch gather
            try:
                await self._delete_sent()
            except (CoveError, SQLAlchemyError, OSError) as error:
                log.warning("sent messages stay in the outbox for now", error=str(error))

    async def _delete_sent(self) -> None:
        self._sent_some.clear()
        spans = _spans(self._sent)
        if not spans:
            return
        taken = len(self._sent)
        parameters = [{"low": low, "high": high} for low, high in spans]
        await self._db.write(lambda connection: connection.execute(_delete, parameters) and None)
        del self._sent[:taken]


def _spans(ids: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of consecutive ids: a deletion never names an id that was not sent."""
    spans: list[tuple[int, int]] = []
    for number in ids:
        if spans and number == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return spans
