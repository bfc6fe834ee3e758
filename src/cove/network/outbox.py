"""The outbox: messages to agents that commit together with the change they tell of, and the task that sends them.

    transaction: add(...) → flush → rows → commit → Dispatcher.committed(entries) → bus.cast / fanout → rows deleted

After a commit the entries are sent at once, from memory, in the order of the commits. Rows of sent entries are deleted
in batches a little later; a crash before that means they are sent once more. Agents take a message twice without harm
(revision numbers); what they must never have is a message lost.

Several server processes may share one database. Each row names the process that is to send it:

* A process whose bus does not reach the agent (`local://`, and the agent is in another process) leaves the row and says
  NEWS; the one whose bus does takes it over.
* Where every bus reaches every agent, a row that is `ADOPT_S` old belongs to a process that died, or is stuck: another
  one takes it over.
* What nobody can deliver for `EXPIRE_S` is dropped: an agent that starts asks for all it is to serve.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from cove import tasks
from cove.bus import Bus, BusError, Target
from cove.db import Database
from cove.errors import CoveError
from cove.network import outbox_table
from cove.network.models import outbox
from cove.network.rows import Row
from cove.network.transaction import OutboxEntry, Transaction
from cove.timeline import Timeline

log = structlog.get_logger(__name__)
T = TypeVar("T")

DHCP_AGENT_TOPIC = "dhcp_agent"
NEWS = "cove_outbox"
"""The channel on which processes tell each other that there are rows for others to send."""

MEMORY_ENTRIES_MAX = 4096
"""Entries kept in memory while the bus is slow; what is beyond is read from the table when its turn comes."""
DELETE_DELAY_S = 0.2
RETRY_DELAY_MIN_S, RETRY_DELAY_MAX_S = 0.05, 5.0
STOP_TIMEOUT_S = 10.0
LOOK_S, LOOK_ALONE_S = 1.0, 10.0
"""How often the table is looked through for what nobody told of: where others share the database, and where not."""
ADOPT_S = 10.0
EXPIRE_S = 600.0

_PENDING = "outbox"
_encode = msgspec.json.Encoder().encode
_insert = sa.insert(outbox).returning(outbox.c.id, sort_by_parameter_order=True)
_FAILURES = (CoveError, SQLAlchemyError, OSError)


def add(tx: Transaction, network_id: str, method: str, host: str | None, payload: dict[str, Any]) -> None:
    """Put a message into the outbox of this transaction; `host` None is a fanout. `flush` stores it."""
    entry = OutboxEntry(0, network_id, method, host, payload)
    tx.memory.setdefault(_PENDING, []).append(entry)


def flush(tx: Transaction) -> None:
    """Store what was added, in one statement; once, at the end of a write transaction. Then it is in `tx.entries`."""
    pending: list[OutboxEntry] = tx.memory.pop(_PENDING, [])
    if not pending:
        return
    rows = [
        {
            "network_id": entry.network_id,
            "method": entry.method,
            "host": entry.host,
            "payload": _encode(entry.payload).decode(),
            "created_at": tx.now,
            "sender": tx.config.server_id,
        }
        for entry in pending
    ]
    ids = tx.connection.execute(_insert, rows).scalars()
    tx.entries += [
        OutboxEntry(int(row_id), entry.network_id, entry.method, entry.host, entry.payload)
        for row_id, entry in zip(ids, pending, strict=True)
    ]


class Dispatcher:
    """Sends the outbox's entries, oldest first, one after the other; so each network's messages keep their order."""

    def __init__(self, db: Database, bus: Bus, timeline: Timeline, server_id: str) -> None:
        self._db = db
        self._bus = bus
        self._timeline = timeline
        self._sender = outbox_table.Sender(server_id, str(uuid.uuid4()))
        self._memory: deque[tuple[OutboxEntry, bool]] = deque()  # and whether it is one of this process's own
        self._behind = False  # there are own rows that are not in memory
        self._skipped = 0  # entries that were left to the table
        self._last_id = 0  # of own entries: their ids grow in the order of the commits
        self._sent: list[int] = []
        self._news = False  # entries were left to others
        self._look_at = 0.0  # monotonic time of the next look through the table: at once
        self._look_for_own_at = time.monotonic() + ADOPT_S
        self._wake = asyncio.Event()
        self._sent_some = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._idle = asyncio.Event()

    async def start(self) -> None:
        """Begin with what an earlier run, or another process that died, left behind."""
        if self._db.shared:
            self._db.listen(NEWS, self._heard_news)
        self._tasks = [
            asyncio.create_task(self._dispatch_forever(), name="outbox-dispatch"),
            asyncio.create_task(self._delete_forever(), name="outbox-delete"),
        ]

    async def stop(self) -> None:
        """Send what can be sent at once, delete the rows of what was sent, end. Unsent rows stay for the next start."""
        if not self._tasks:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._idle.wait()
        except TimeoutError:
            log.warning("outbox not empty at stop; the rest is sent at the next start", waiting=len(self._memory))
        running, self._tasks = self._tasks, []
        await tasks.end(running)
        await self._delete_sent()

    def committed(self, entries: Iterable[OutboxEntry]) -> None:
        """Called on the event loop after each commit, in commit order: send these now."""
        for entry in entries:
            if len(self._memory) >= MEMORY_ENTRIES_MAX:
                self._behind = True
            if self._behind:
                self._skipped += 1
            else:
                self._memory.append((entry, True))
            self._idle.clear()
        self._wake.set()

    async def drained(self, timeout_s: float) -> None:
        """Wait until every entry committed so far has been sent, or left to others. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            await self._idle.wait()

    def _heard_news(self) -> None:
        if self._bus.reaches(Target(DHCP_AGENT_TOPIC)):
            self._look_at = 0.0
            self._wake.set()

    async def _dispatch_forever(self) -> None:
        while True:
            while self._memory:
                await self._send_first()
            if self._behind:
                await self._until_done(self._load)
                continue
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + (LOOK_S if self._db.shared else LOOK_ALONE_S)
                await self._until_done(self._look_through)
                continue
            if self._news:
                self._news = False
                await self._say_news()
                continue
            self._wake.clear()
            self._idle.set()
            try:
                async with asyncio.timeout(self._look_at - time.monotonic()):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        """Run a step on the database, again for as long as that fails."""
        delay_s = RETRY_DELAY_MIN_S
        while True:
            try:
                await step()
                return
            except _FAILURES as error:
                log.warning("outbox not read; trying again", error=str(error), after_s=delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, RETRY_DELAY_MAX_S)

    # --- rows that were not handed over in memory --------------------------------------------------------------------

    async def _load(self) -> None:
        """Take own rows into memory that were not put there at their commit."""
        # What was skipped before this point is in the table that is read now; what is skipped from here on may not be.
        last, skipped = self._last_id, self._skipped
        rows = await self._db.read(lambda connection: outbox_table.after(connection, self._sender.me, last))
        if not rows:
            self._behind = self._skipped != skipped
        for row in rows:
            if not self._remember(row, own=True):
                self._last_id = row["id"]

    async def _look_through(self) -> None:
        """Take over what other processes left, or own rows whose commit this process did not hear of."""
        now = time.time()
        waiting = await self._db.read(lambda connection: outbox_table.of_others(connection, self._sender))
        mine = self._falls_to_me(waiting, now)
        if mine:
            rows = await self._db.write(lambda connection: outbox_table.take_over(connection, self._sender, mine, now))
            for row in rows:
                self._remember(row, own=False)
            if len(rows) == outbox_table.LOAD_MAX:
                self._look_at = 0.0  # there are more
        if not self._reaches_all():
            expired = {w.host for w in waiting if not self._reaches(w.host) and w.oldest < now - EXPIRE_S}
            if expired:
                await self._drop(expired, now)
        if time.monotonic() >= self._look_for_own_at:
            self._look_for_own_at = time.monotonic() + ADOPT_S
            await self._find_own(now)

    def _falls_to_me(self, waiting: list[outbox_table.Waiting], now: float) -> list[outbox_table.Waiting]:
        if not self._db.shared or not self._bus.shared:
            # There is no other process that would send them, or none whose bus reaches their agent.
            return [each for each in waiting if self._reaches(each.host)]
        dead = {each.sender for each in waiting if each.oldest < now - ADOPT_S}
        return [each for each in waiting if each.sender in dead]

    async def _find_own(self, now: float) -> None:
        """Own rows that are old and not known here: of a commit whose outcome was not known, or left to nobody."""
        rows = await self._db.read(lambda connection: outbox_table.older(connection, self._sender, now - ADOPT_S))
        known = {entry.id for entry, _ in self._memory}.union(self._sent) if rows else set()
        for row in rows:
            if row["id"] in known or self._behind:
                continue
            if self._reaches(row["host"]):
                self._remember(row, own=False)
            elif row["created_at"] < now - EXPIRE_S:
                await self._drop({row["host"]}, now)

    async def _drop(self, hosts: set[str | None], now: float) -> None:
        before = now - EXPIRE_S
        dropped = await self._db.write(lambda connection: outbox_table.drop(connection, hosts, before))
        log.warning(
            "messages dropped that no process could deliver", hosts=list(hosts), messages=dropped, older_s=EXPIRE_S
        )

    def _remember(self, row: Row, *, own: bool) -> bool:
        """Put a row's message into memory, to be sent; False if it cannot be read."""
        entry = outbox_table.entry_of(row)
        if entry is None:
            self._sent.append(row["id"])
            self._sent_some.set()
            return False
        self._memory.append((entry, own))
        return True

    # --- the bus -----------------------------------------------------------------------------------------------------

    def _reaches(self, host: str | None) -> bool:
        return self._reaches_all() or self._bus.reaches(Target(DHCP_AGENT_TOPIC, host))

    def _reaches_all(self) -> bool:
        """Whether it is the bus's business alone who gets what: with no other process, or a bus between them all."""
        return not self._db.shared or self._bus.shared

    async def _send_first(self) -> None:
        entry, own = self._memory[0]
        if self._reaches(entry.host):
            await self._send(entry)
            self._sent.append(entry.id)
            self._sent_some.set()
        else:
            self._news = True
        self._memory.popleft()
        if own:
            self._last_id = entry.id

    async def _say_news(self) -> None:
        try:
            await self._db.notify(NEWS)
        except _FAILURES as error:
            log.info("news not told; the others look by themselves", error=str(error))

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

    # --- deleting ----------------------------------------------------------------------------------------------------

    async def _delete_forever(self) -> None:
        while True:
            await self._sent_some.wait()
            await asyncio.sleep(DELETE_DELAY_S)  # let a batch gather
            try:
                await self._delete_sent()
            except _FAILURES as error:
                log.warning("sent messages stay in the outbox for now", error=str(error))
                self._sent_some.set()

    async def _delete_sent(self) -> None:
        self._sent_some.clear()
        taken = list(self._sent)
        if not taken:
            return
        await self._db.write(lambda connection: outbox_table.delete(connection, taken))
        del self._sent[: len(taken)]
