"""Storm: load on a few objects from many tasks, the history of all of it, and what must hold when it is over.

    async with Storm(client, ioctx, "name") as storm:
        ... make something bad happen ...
        await storm.progress()                  # every object goes on

At the end, whatever happened meanwhile: the client holds no budget, tid or time-out any more; the history is
linearizable for each object, a last read included; versions grow as the cluster promises; librados reads the same.
What the client must hide (a lost connection, an OSD that dies) raises no error; errors of classes named in `allowed`
are part of the history: an OutcomeUnknown may have happened, anything else has not.
"""

from __future__ import annotations

import asyncio
import errno
import random
import secrets
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from cove.rados import (
    AioCompletion,
    Cancelled,
    Error,
    IoCtx,
    NotConnected,
    ObjectNotFound,
    OutcomeUnknown,
    Rados,
    ReadOp,
    WriteOp,
)
from tests.linearizability import (
    ABSENT,
    DONE,
    MISMATCH,
    NO_TAG,
    History,
    Kind,
    NotLinearizable,
    Operation,
    State,
    Status,
)

from ..peer import Librados, LibradosError
from .values import Values

TAG = "tag"
PROGRESS_TIMEOUT_S = 60.0
POLL_S = 0.01

MIX = {Kind.READ: 35, Kind.APPEND: 25, Kind.WRITE_FULL: 12, Kind.GUARDED: 22, Kind.REMOVE: 6}
"""Of 100 operations."""


async def until(condition: Callable[[], object], what: str, timeout_s: float = 40.0) -> None:
    """Let the event loop run until the condition holds."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(POLL_S)


def leftovers(client: Rados) -> dict[str, int]:
    """What a client without anything to do must not have."""
    objecter = client.objecter
    sessions = (*objecter.sessions.values(), objecter.homeless)
    found = {
        "operations in the throttle": objecter.throttle.ops,
        "bytes in the throttle": objecter.throttle.bytes,
        "waiting for the throttle": objecter.throttle.waiting,
        "live operations": len(objecter.live_ops()),
        "time-outs": len(objecter.wheel),
        "tids": sum(len(session.ops) for session in sessions),
    }
    return {what: count for what, count in found.items() if count}


class Storm:
    """The load, and its record. `history`, `errors` (allowed ones that came), `slowest_s` are for tests to look at."""

    def __init__(
        self,
        client: Rados,
        ioctx: IoCtx,
        name: str,
        *,
        objects: int = 8,
        tasks: int = 3,
        sizes: tuple[int, int] = (16, 600),
        allowed: tuple[type[Error], ...] = (),
        cancel: float = 0.0,
        timeout_s: float | None = None,
        keeps_objects: bool = False,
        seed: int = 0,
    ) -> None:
        """`tasks` for each object, each with one operation at a time; `cancel`: the share of operations whose task
        is cancelled; `keeps_objects`: nothing is removed."""
        self.client = client
        self.ioctx = ioctx
        self.history = History()
        self.errors: Counter[type[Error]] = Counter()
        self.cancelled = 0
        self.slowest_s = 0.0
        unique = f"{name}.{secrets.token_hex(3)}"  # its objects do not exist when it begins
        self.oids = self._spread(unique, objects)
        self.values = Values(sizes, random.Random(seed))
        self._dice = random.Random(seed)
        self._tasks_each = tasks
        self._allowed = allowed
        self._cancel = cancel
        self._timeout_s = timeout_s
        self._mix = {**MIX, Kind.REMOVE: 0} if keeps_objects else MIX
        self._tags = dict.fromkeys(self.oids, NO_TAG)
        self._versions: dict[Operation, int] = {}
        self._answered = dict.fromkeys(self.oids, 0)
        self._verifier: tuple[Rados, IoCtx] | None = None
        self._running = True
        self._workers: list[asyncio.Task[None]] = []

    def _spread(self, name: str, objects: int) -> list[str]:
        """Names of objects, such that each OSD is the primary of some."""
        found: list[str] = []
        counts: Counter[int] = Counter()
        share = -(-objects // len(self.client.objecter.osdmap.osd_state)) if self.client.objecter.osdmap else objects
        for number in range(100 * objects):
            oid = f"{name}.{number}"
            primary = self.primary(oid)
            if counts[primary] < share and len(found) < objects:
                counts[primary] += 1
                found.append(oid)
        assert len(found) == objects, f"not all OSDs are primaries: {counts}"
        return found

    # what tests look at

    def primary(self, oid: str) -> int:
        """The primary OSD of an object in the client's present map."""
        osdmap = self.client.osdmap
        return osdmap.pg_to_osds(osdmap.actual_pg(osdmap.raw_pg(oid, self.ioctx.locator))).primary

    def at(self, osd: int) -> int:
        """How many operations are in flight at an OSD: sent there, and not answered."""
        session = self.client.objecter.sessions.get(osd)
        return 0 if session is None else sum(1 for op in session.ops.values() if op.attempts)

    def primaries(self) -> dict[str, int]:
        """The primary OSD of each object in the client's present map."""
        return {oid: self.primary(oid) for oid in self.oids}

    def is_primary(self, osd: int) -> bool:
        """Whether the client takes an OSD for the primary of one of the objects."""
        return osd in self.primaries().values()

    def is_not_primary(self, osd: int) -> bool:
        """The opposite."""
        return not self.is_primary(osd)

    def paused(self, sent: bool = True) -> int:
        """How many operations wait for the map to let them go; `sent` False: only those that were never sent."""
        return sum(1 for op in self.client.objecter.live_ops() if op.paused and (sent or not op.attempts))

    def all_wait(self) -> bool:
        """Whether every task waits for the map to let its operation go."""
        return self.paused() == self.in_flight == self.workers

    @property
    def workers(self) -> int:
        """How many tasks there are."""
        return len(self._workers)

    @property
    def in_flight(self) -> int:
        """Operations without an answer."""
        return self.history.count(Status.PENDING)

    @property
    def resent(self) -> int:
        """How many times operations were sent again."""
        return self.client.objecter.stats.resent

    async def progress(self, each: int = 12) -> None:
        """Wait until every object has answered so many more operations."""
        wanted = {oid: count + each for oid, count in self._answered.items()}
        deadline = asyncio.get_running_loop().time() + PROGRESS_TIMEOUT_S
        while any(self._answered[oid] < count for oid, count in wanted.items()):
            self._check_workers()
            assert asyncio.get_running_loop().time() < deadline, self._stuck()
            await asyncio.sleep(POLL_S)

    def _check_workers(self) -> None:
        for worker in self._workers:
            if worker.done() and not worker.cancelled():
                worker.result()

    def _stuck(self) -> str:
        """What is in flight, and where."""
        objecter = self.client.objecter
        lines = [f"no progress; epoch {objecter.epoch}"]
        for op in objecter.live_ops():
            session = op.session
            where = "nowhere" if session is None else f"osd.{session.osd} up {session.up} {list(session.backoffs)}"
            lines.append(f"{op} epoch {op.target_epoch} paused {op.paused} {op.target} in {where}")
        return "\n".join(lines)

    # the load

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._workers = [
            loop.create_task(self._work(oid), name=f"storm {oid}") for oid in self.oids for _ in range(self._tasks_each)
        ]
        try:
            await self.progress()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()
        if problem is None:
            await self._verify()

    def stop_soon(self) -> None:
        """Begin no more operations."""
        self._running = False

    async def _stop(self) -> None:
        self._running = False
        _, late = await asyncio.wait(self._workers, timeout=PROGRESS_TIMEOUT_S)
        stuck = self._stuck() if late else ""
        for worker in late:
            worker.cancel()
        ends = await asyncio.gather(*self._workers, return_exceptions=True)
        assert not late, stuck
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    async def _work(self, oid: str) -> None:
        kinds, weights = list(self._mix), list(self._mix.values())
        while self._running:
            kind = self._dice.choices(kinds, weights)[0]
            if self._cancel and self._dice.random() < self._cancel:
                await self._cancelled_soon(oid, kind)
            else:
                await self.perform(oid, kind)

    async def _cancelled_soon(self, oid: str, kind: Kind) -> None:
        """An operation whose task is cancelled after some turns of the event loop, if it is not done by then."""
        task = asyncio.get_running_loop().create_task(self.perform(oid, kind))
        for _ in range(self._dice.randrange(40)):
            await asyncio.sleep(0)
        if task.cancel():
            self.cancelled += 1
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            task.result()

    async def perform(self, oid: str, kind: Kind) -> None:
        """One operation, recorded."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        value = 0 if kind in (Kind.READ, Kind.REMOVE) else self.values.new()
        operation = self.history.invoke(kind, oid, value, self._tags[oid] if kind is Kind.GUARDED else NO_TAG)
        try:
            completion = self.ioctx.aio_operate(oid, self._vector(operation), timeout_s=self._timeout_s)
        except Error as error:
            self.history.fail(operation)
            self._count(error)
            await asyncio.sleep(0)
            return
        try:
            await completion
        except Error:
            pass  # looked at below
        except asyncio.CancelledError:
            self._record(operation, completion, cancelled=True)
            raise
        self.slowest_s = max(self.slowest_s, loop.time() - began)
        self._record(operation, completion)

    def _vector(self, operation: Operation) -> ReadOp | WriteOp:
        kind, value = operation.kind, operation.value
        if kind is Kind.READ:
            return ReadOp().read().getxattrs()
        if kind is Kind.REMOVE:
            return WriteOp().remove()
        data = self.values.data(value)
        if kind is Kind.APPEND:
            return WriteOp().append(data)
        if kind is Kind.WRITE_FULL:
            return WriteOp().write_full(data)
        guard = b"" if operation.expected == NO_TAG else b"%d" % operation.expected
        return WriteOp().cmpxattr(TAG, guard).write_full(data).setxattr(TAG, b"%d" % value)

    def _record(self, operation: Operation, completion: AioCompletion, cancelled: bool = False) -> None:
        history, error, kind = self.history, completion.error(), operation.kind
        if error is None:
            result = completion.result()
            if kind is Kind.READ:
                tag = result.value(1).get(TAG)
                state = State(self.values.parse(result.data(0)), NO_TAG if tag is None else int(tag))
                self._tags[operation.oid] = state.tag
                history.ok(operation, state)
            else:
                history.ok(operation, DONE)
                if kind is Kind.GUARDED:
                    self._tags[operation.oid] = operation.value
            self._versions[operation] = result.version
        elif isinstance(error, ObjectNotFound) and kind in (Kind.READ, Kind.REMOVE, Kind.GUARDED):
            history.ok(operation, ABSENT)
            self._tags[operation.oid] = NO_TAG
        elif isinstance(error, Cancelled) and kind is Kind.GUARDED and not (cancelled or self._is_shut_down):
            history.ok(operation, MISMATCH)
            self._tags[operation.oid] = NO_TAG
        elif isinstance(error, OutcomeUnknown):
            assert kind is not Kind.READ, "a read has no outcome that could be unknown"
            history.unknown(operation)
            if not cancelled:
                self._count(error)
            return
        else:
            history.fail(operation)
            if not cancelled:
                self._count(error)
            return
        self._answered[operation.oid] += 1

    def _count(self, error: Error) -> None:
        if not isinstance(error, self._allowed):
            raise error
        self.errors[type(error)] += 1

    # what must hold

    @property
    def _is_shut_down(self) -> bool:
        try:
            self.client.objecter  # noqa: B018
        except NotConnected:
            return True
        return False

    def hand_over(self, client: Rados, ioctx: IoCtx) -> None:
        """The storm's own client can't go on: let this one look at what is there in the end."""
        self._verifier = client, ioctx

    async def _verify(self) -> None:
        if not self._is_shut_down:
            assert not leftovers(self.client)
        if self._verifier is not None:
            self.client, self.ioctx = self._verifier
        self._timeout_s = 60.0
        for oid in self.oids:
            await self.perform(oid, Kind.READ)
        self.history.check()
        self._check_versions()
        kinds = {operation.kind for operation in self.history.operations if operation.status is Status.OK}
        assert kinds == {kind for kind, weight in self._mix.items() if weight}, "the mix was not what it should be"

    def _check_versions(self) -> None:
        """An object's version grows with each write; an answer tells that of its own write, or of the state read."""
        for oid, operations in self.history.by_object().items():
            versioned = [operation for operation in operations if operation in self._versions]
            writes = [self._versions[operation] for operation in versioned if operation.kind is not Kind.READ]
            if len(set(writes)) != len(writes):
                raise NotLinearizable(f"{oid}: two writes have got the same version")
            events = [(operation.invoked, True, operation) for operation in versioned]
            events += [(operation.returned or 0, False, operation) for operation in versioned]
            newest = 0
            least: dict[Operation, int] = {}
            for _, begins, operation in sorted(events, key=lambda event: event[0]):
                if begins:
                    least[operation] = newest
                    continue
                version = self._versions[operation]
                if version < least[operation] + (operation.kind is not Kind.READ):
                    raise NotLinearizable(f"{oid}: {operation} has version {version}, after {least[operation]}")
                newest = max(newest, version)

    def compare(self, peer: Librados, pool: str) -> None:
        """librados reads what the last reads have shown."""
        peer.ask("pools")  # with the newest map; with an old one it takes librados seconds to notice
        for oid, operations in self.history.by_object().items():
            last = operations[-1]
            assert last.kind is Kind.READ
            try:
                data = self.values.parse(peer.read(pool, oid))
            except LibradosError as problem:
                if problem.result == -errno.ENOENT and last.answer is ABSENT:
                    continue
                raise
            assert isinstance(last.answer, State)
            assert data == last.answer.data
