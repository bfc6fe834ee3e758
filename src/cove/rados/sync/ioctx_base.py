"""IoctxBase: the state of the facade's io contexts, and how their operations get to the event loop and back.

Settings (namespace, locator key, snapshots) travel through the same queue as operations, so that each operation goes
by those that were set before it, without waiting for the loop.

Source: Ceph's pybind/rados (`Ioctx`), librados' IoCtxImpl.
"""

from __future__ import annotations

import copy
import errno
import threading
from _thread import allocate_lock, get_ident
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from ..completion import AioCompletion
from ..errors import Error as ClientError
from ..ioctx import IoCtx
from ..operations import OpVector
from . import runtime
from .checks import check_str, unsigned
from .completion import SHUT_DOWN, Completion, Decode
from .constants import LIBRADOS_SNAP_HEAD
from .errors import Error, IoctxStateError, make_ex
from .session import Session

if TYPE_CHECKING:
    from .client import Rados


class OperationCall:
    """One operation that its caller waits for."""

    __slots__ = ("_cancelled", "_oid", "_op", "answer", "io", "lock", "problem", "ret")

    def __init__(self, io: IoCtx, oid: str, op: OpVector) -> None:
        self.io = io
        self._oid = oid
        self._op = op
        self.lock = allocate_lock()
        self.lock.acquire()
        self.answer: AioCompletion | None = None
        self.problem: ClientError | None = None
        self.ret = 0
        """The result; negative: an error number."""
        self._cancelled = False

    def submit(self) -> None:
        """On the loop."""
        if self._cancelled:
            return
        try:
            self.answer = self.io.aio_operate(self._oid, self._op, self.done)
        except ClientError as problem:
            self.problem = problem
            self.ret = -problem.errno
            self.lock.release()
        except BaseException as problem:
            self.problem = ClientError(f"the operation could not be submitted: {problem!r}")
            self.ret = -self.problem.errno
            self.lock.release()
            raise

    def done(self, answer: AioCompletion) -> None:
        """On the loop: wake the caller, unless the interpreter is about to end."""
        self.answer = answer
        self.ret = answer.get_return_value()
        if not runtime.state.exiting:
            self.lock.release()

    def cancel(self) -> None:
        """On the loop: the caller has been interrupted."""
        self._cancelled = True
        if self.answer is not None:
            self.answer.cancel()

    @property
    def cause(self) -> ClientError | None:
        """The client's own error, which says more."""
        return self.problem if self.answer is None else self.answer.error()

    def data(self, index: int = 0) -> bytes:
        """Output of one of the vector's operations."""
        assert self.answer is not None
        data = self.answer.outputs().data(index)
        return data if type(data) is bytes else bytes(data)

    def value(self, index: int = 0) -> Any:
        """The same, decoded. Raises the client's errors."""
        assert self.answer is not None
        return self.answer.outputs().value(index)


def failed(ret: int, message: str, cause: BaseException | None) -> Error:
    """The exception for a result; its cause is the client's own, which says more."""
    problem = make_ex(ret, message)
    problem.__cause__ = cause
    return problem


class IoctxBase:
    """State, settings, and the general form of operations. `name`, `rados`, `state` are to be read only."""

    def __init__(self, rados: Rados, name: str) -> None:
        self.rados = rados
        self.name = name
        self.state = "open"
        self.locator_key = ""
        self.nspace = ""
        self.lock = threading.Lock()
        self._pool: str | int = name
        self._bound: tuple[IoCtx, Session] | None = None
        """The client's io context, and the connection that it belongs to: one reference, so that threads see both."""
        self._snap_read: int | None = None
        self._snapc: tuple[int, tuple[int, ...]] = (0, ())
        self._full_try = False
        self._version = 0

    def __enter__(self) -> Any:
        return self

    def __exit__(self, type_: object, value: object, traceback: object) -> None:
        self.close()

    def close(self) -> None:
        """No more operations through this one; those in flight go on. Twice is no error."""
        if self.state == "open":
            self.state = "closed"
            bound, self._bound = self._bound, None
            if bound is not None:
                _close(*bound)

    def require_ioctx_open(self) -> None:
        """Raises IoctxStateError if it is closed."""
        if self.state != "open":
            raise IoctxStateError(f"The pool is {self.state}")

    @property
    def complete_completions(self) -> list[Completion]:
        """Operations in flight that have an `oncomplete`."""
        return [item for item in self._pending() if item.oncomplete is not None]

    @property
    def safe_completions(self) -> list[Completion]:
        """Operations in flight that have an `onsafe`."""
        return [item for item in self._pending() if item.onsafe is not None]

    def _pending(self) -> list[Completion]:
        bound = self._bound
        return [] if bound is None else [item for item in bound[1].in_flight() if item.ioctx is self]

    # opening

    def _context(self) -> tuple[IoCtx, Session]:
        """The client's io context and its connection; in the child of a fork, new ones.

        Raises IoctxStateError, RadosStateError, `Error` (the pool can't be opened).
        """
        bound = self._bound
        if bound is None or bound[1] is not self.rados._session:
            return self._bind()
        return bound

    def _bind(self) -> tuple[IoCtx, Session]:
        self.require_ioctx_open()
        session = self.rados.session()
        with session.opening:  # one thread does it, before any operation of another one gets there
            bound = self._bound
            if bound is not None and bound[1] is session:
                return bound
            try:
                io = session.run(lambda: _opened(session, self._pool))
            except ClientError as problem:
                which = f"'{self._pool}'" if isinstance(self._pool, str) else f"id '{self._pool}'"
                raise failed(problem.errno, f"error opening pool {which}", problem) from problem
            self._pool = io.pool_id
            bound = (io, session)
            session.thread.post(self._restore, io)
            self._bound = bound
        if self.state != "open":
            _close(io, session)
        return bound

    def _restore(self, io: IoCtx) -> None:
        """On the loop: the settings of before the fork."""
        io.set_location(self.nspace, self.locator_key)
        io.snap_set_read(self._snap_read)
        io.set_self_managed_snap_write_ctx(*self._snapc)
        io.set_osdmap_full_try(self._full_try)

    @contextmanager
    def _placed(self, nspace: str, locator_key: str | None) -> Iterator[Self]:
        """This context with another namespace and locator key (None: the same), for some calls of one thread."""
        io, session = self._context()
        other = copy.copy(self)
        other.nspace = nspace
        if locator_key is not None:
            other.locator_key = locator_key
        other._bound = twin, _ = io.duplicate(), session
        session.thread.post(other._restore, twin)
        yield other
        self._version = other._version

    def _set(self, function: Callable[..., None], *values: Any) -> None:
        """Change a setting for the operations submitted from now on."""
        io, session = self._context()
        session.thread.post(function, io, *values)

    # operations

    def _operate(self, oid: str, op: OpVector) -> OperationCall:
        """Submit, and wait for the answer, whatever it is. An interrupt cancels the operation."""
        io, session = self._context()
        thread = session.thread
        if get_ident() == thread.ident or runtime.state.exiting:
            runtime.refuse_on_loop(thread)
            runtime.refuse_at_exit()
        call = OperationCall(io, oid, op)
        thread.post(call.submit)
        try:
            call.lock.acquire()
        except BaseException:
            thread.post(call.cancel)
            raise
        if call.answer is not None:
            self._version = call.answer.get_version()
        if call.ret in SHUT_DOWN and session.is_closing:
            call.ret = -errno.ESHUTDOWN
        return call

    def _aio(
        self,
        oid: str,
        op: OpVector,
        oncomplete: Callable[..., Any] | None,
        onsafe: Callable[..., Any] | None = None,
        decode: Decode | None = None,
    ) -> Completion:
        """Submit, and return at once (unless too much is in flight)."""
        io, session = self._context()
        completion = Completion(self, oncomplete, onsafe)
        completion._decode = decode
        session.submit(completion, io, oid, op)
        return completion

    # settings

    def set_locator_key(self, loc_key: str) -> None:
        """Place the objects of the operations from now on by this key instead of by their names; "": by names."""
        self.require_ioctx_open()
        check_str(loc_key=loc_key)
        self.locator_key = loc_key
        self._set(IoCtx.set_location, self.nspace, loc_key)

    def get_locator_key(self) -> str:
        """The key set by set_locator_key."""
        return self.locator_key

    def set_namespace(self, nspace: str) -> None:
        """Look for objects in that namespace from now on. LIBRADOS_ALL_NSPACES is for `list_objects`."""
        self.require_ioctx_open()
        if nspace is None:
            nspace = ""
        check_str(nspace=nspace)
        self.nspace = nspace
        self._set(IoCtx.set_location, nspace, self.locator_key)

    def get_namespace(self) -> str:
        """The namespace set by set_namespace."""
        return self.nspace

    def set_read(self, snap_id: int) -> None:
        """Read at a snapshot from now on; LIBRADOS_SNAP_HEAD: the present state. Writes fail with EROFS meanwhile."""
        self.require_ioctx_open()
        number = unsigned(snap_id)
        self._snap_read = None if number == LIBRADOS_SNAP_HEAD else number
        self._set(IoCtx.snap_set_read, self._snap_read)

    def set_self_managed_snap_write(self, snaps: Any) -> None:
        """The self-managed snapshots that writes preserve from now on: their ids, in any order."""
        self.require_ioctx_open()
        ordered = tuple(sorted((int(snap) for snap in snaps or ()), reverse=True))
        seq = ordered[0] if ordered else 0
        io, session = self._context()
        try:
            # waits: what it refuses is to be known here
            session.run(lambda: _write_with(io, seq, ordered))
        except ClientError as problem:
            raise failed(problem.errno, "Failed to update snapshot write context", problem) from problem
        self._snapc = (seq, ordered)

    def set_osdmap_full_try(self) -> None:
        """Let writes be tried while the pool or the cluster is full: deletions work, others fail with ENOSPC."""
        self._full_try = True
        self._set(IoCtx.set_osdmap_full_try, True)

    def unset_osdmap_full_try(self) -> None:
        """Let writes wait until there is room again (the default)."""
        self._full_try = False
        self._set(IoCtx.set_osdmap_full_try, False)

    def get_last_version(self) -> int:
        """Version of the object that was read or written last by a blocking call."""
        self.require_ioctx_open()
        return self._version

    def aio_flush(self) -> None:
        """Wait until all writes submitted so far through this context are done, whatever their results."""
        io, session = self._context()
        try:
            session.run(io.aio_flush)
        except ClientError as problem:
            raise failed(problem.errno, "error flushing", problem) from problem


async def _opened(session: Session, pool: str | int) -> IoCtx:
    """Open a pool by name or number."""
    io: IoCtx = await session.client.open_ioctx(pool)
    return io


def _close(io: IoCtx, session: Session) -> None:
    if session.is_open and not runtime.state.exiting:
        session.thread.post(io.close)


async def _write_with(io: IoCtx, seq: int, snaps: tuple[int, ...]) -> None:
    io.set_self_managed_snap_write_ctx(seq, snaps)
