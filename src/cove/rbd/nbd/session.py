"""One NBD client's connection: `asyncio.BufferedProtocol` around the state machine of `protocol.py`.

Requests run concurrently, each in a task that the session owns. Back-pressure goes both ways: with too many
requests or bytes in flight, or a client that doesn't take its replies, nothing more is read from the socket.
Replies that become ready in one turn of the event loop leave in one send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

import structlog

from .constants import ERRNO_TO_CODE, Command, CommandFlag, ErrorCode, Option, Reply, error_code
from .exports import Export, ExportBusy
from .protocol import ExportInfo, ExportWanted, Finished, ProtocolError, Request, ServerConnection

if TYPE_CHECKING:
    from .server import NbdServer

log = structlog.get_logger(__name__)

REQUESTS_IN_FLIGHT_MAX = 128
BYTES_IN_FLIGHT_MAX = 16 << 20
WRITE_BUFFER_BYTES = 1 << 20
JOIN_BYTES_MAX = 64 << 10
"""Replies up to this length are joined into one send; longer ones are passed to the transport as they are."""
HANDSHAKE_TIMEOUT_S = 30.0


class Session(asyncio.BufferedProtocol):
    """One client. `closed` is set when the connection is gone, its requests are done and its export is given back."""

    def __init__(self, server: NbdServer) -> None:
        self.closed = asyncio.Event()
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._connection = ServerConnection(lambda: server.exports.names)
        self._transport: asyncio.Transport | None = None
        self._export: Export | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes_in_flight = 0
        self._negotiating = False
        self._reading = True
        self._finishing = False
        self._lost = False
        self._send_scheduled = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._handshake_timer: asyncio.TimerHandle | None = None

    # callbacks of the transport ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        if not self._server.register(self):
            self._transport.abort()
            return
        self._handshake_timer = self._loop.call_later(HANDSHAKE_TIMEOUT_S, self._handshake_timed_out)
        self._send()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport receives to."""
        return self._connection.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        self._connection.buffer_updated(nbytes)
        self._pump()

    def eof_received(self) -> bool:
        """The client sends no more; close."""
        return False

    def pause_writing(self) -> None:
        """The client doesn't take its replies."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self._writable.set()
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone. Requests in flight are finished, not cancelled: they may be half done."""
        self._lost = True
        self._writable.set()
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
        if self._export is not None:
            self._server.exports.leaving(self._export)
        self._server.spawn(self._clean_up())

    # the flow ---------------------------------------------------------------------------------------------------

    def _blocked(self) -> bool:
        return (
            self._negotiating
            or self._finishing
            or self._lost
            or len(self._tasks) >= REQUESTS_IN_FLIGHT_MAX
            or self._bytes_in_flight >= BYTES_IN_FLIGHT_MAX
            or not self._writable.is_set()
        )

    def _pump(self) -> None:
        """Act on all events that the bounds allow, send what is ready, and read on or pause."""
        try:
            while not self._blocked():
                event = self._connection.next_event()
                if event is None:
                    break
                if isinstance(event, Request):
                    self._start(event)
                elif isinstance(event, ExportWanted):
                    self._negotiating = True
                    self._spawn(self._negotiate(event))
                else:
                    self._finish(event)
        except ProtocolError as error:
            log.info("nbd_client_error", error=str(error))
            self._abort()
            return
        self._schedule_send()
        self._set_reading(not self._blocked())

    def _set_reading(self, wanted: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing() or wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        self._idle.clear()
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("nbd_session_failed", error=repr(error))
            self._abort()
        elif not self._reading or self._negotiating:
            self._pump()

    def _finish(self, event: Finished) -> None:
        self._finishing = True
        self._server.spawn(self._close_when_idle())

    async def _close_when_idle(self) -> None:
        await self._idle.wait()
        self._send()
        if self._transport is not None:
            self._transport.close()

    async def _clean_up(self) -> None:
        """After the connection is gone: let requests finish, give the export back."""
        await self._idle.wait()
        export, self._export = self._export, None
        try:
            if export is not None:
                await self._server.exports.release(export, client=True)
        finally:
            self._server.unregister(self)
            self.closed.set()

    def _handshake_timed_out(self) -> None:
        log.info("nbd_handshake_timeout", seconds=HANDSHAKE_TIMEOUT_S)
        self._abort()

    def _abort(self) -> None:
        self._finishing = True
        if self._transport is not None:
            self._transport.abort()

    async def shut_down(self, timeout_s: float) -> None:
        """Finish what is in flight, answer it, close. After the time-out: cancel and cut."""
        self._finishing = True
        self._set_reading(False)
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
                self._send()
                if self._transport is not None:
                    self._transport.close()
                await self.closed.wait()
        except TimeoutError:
            log.warning("nbd_shutdown_timeout", in_flight=len(self._tasks))
            for task in list(self._tasks):
                task.cancel()
            self._abort()
            await self.closed.wait()

    # negotiation ------------------------------------------------------------------------------------------------

    async def _negotiate(self, wanted: ExportWanted) -> None:
        begins = wanted.option is not Option.INFO
        try:
            name = self._connection.resolve(wanted.name)
            if name is None:
                self._connection.refuse_export(Reply.ERR_UNKNOWN, f"there is no export {wanted.name!r}")
                return
            try:
                export = await self._server.exports.acquire(name, client=begins)
            except ExportBusy as error:
                self._connection.refuse_export(Reply.ERR_POLICY, str(error))
                return
            except Exception as error:
                # whatever opening raises is this client's bad luck only
                log.warning("nbd_open_failed", export=name, error=str(error))
                self._connection.refuse_export(Reply.ERR_POLICY, f"export {name!r} can't be opened: {error}")
                return
            assert export.backend is not None
            info = ExportInfo(name, export.backend.size, self._server.read_only, self._server.description)
            self._connection.accept_export(info)
            if not begins:
                await self._server.exports.release(export, client=False)
                return
            if self._handshake_timer is not None:
                self._handshake_timer.cancel()
            self._export = export
            if self._lost:
                self._server.exports.leaving(export)
        except ProtocolError as error:
            log.info("nbd_client_error", error=str(error))
            self._abort()
        finally:
            self._negotiating = False

    # requests ---------------------------------------------------------------------------------------------------

    def _start(self, request: Request) -> None:
        self._bytes_in_flight += _memory(request)
        self._spawn(self._serve(request))

    async def _serve(self, request: Request) -> None:
        """One request from backend to reply."""
        try:
            await self._perform(request)
        except asyncio.CancelledError:
            self._connection.reply_error(request, ErrorCode.ESHUTDOWN, "the server shuts down")
            raise
        except Exception as error:
            number = getattr(error, "errno", None)
            if not isinstance(number, int) or abs(number) not in ERRNO_TO_CODE:
                command = request.command.name
                log.warning("nbd_request_failed", command=command, offset=request.offset, error=repr(error))
            code = error_code(number) if isinstance(number, int) else ErrorCode.EIO
            self._connection.reply_error(request, code, str(error))
        finally:
            self._bytes_in_flight -= _memory(request)
            self._schedule_send()
        if not self._writable.is_set():
            # this request stays in flight until the client takes replies: that bounds what is queued for it
            await self._writable.wait()

    async def _perform(self, request: Request) -> None:
        assert self._export is not None
        backend = self._export.backend
        assert backend is not None
        connection, offset, length = self._connection, request.offset, request.length
        match request.command:
            case Command.READ:
                connection.reply_read(request, await backend.read(offset, length) if length else ())
                return
            case Command.BLOCK_STATUS:
                connection.reply_status(request, await backend.block_status(offset, length))
                return
            case Command.FLUSH:
                await backend.flush()
            case Command.CACHE:
                pass
            case _ if not length:
                pass
            case Command.WRITE:
                assert request.payload is not None
                await backend.write(offset, request.payload)
            case Command.TRIM:
                await backend.discard(offset, length)
            case Command.WRITE_ZEROES:
                await backend.write_zeroes(offset, length, thick=bool(request.flags & CommandFlag.NO_HOLE))
        if request.flags & CommandFlag.FUA and not backend.durable_writes:
            await backend.flush()
        connection.reply_done(request)

    def _schedule_send(self) -> None:
        if not self._send_scheduled:
            self._send_scheduled = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._send_scheduled = False
        chunks = self._connection.data_to_send()
        transport = self._transport
        if not chunks or self._lost or transport is None or transport.is_closing():
            return
        small: list[bytes | bytearray | memoryview] = []
        size = 0
        for chunk in chunks:
            if len(chunk) > JOIN_BYTES_MAX or size > JOIN_BYTES_MAX:
                if small:
                    transport.write(b"".join(small))
                    small, size = [], 0
                if len(chunk) > JOIN_BYTES_MAX:
                    transport.write(chunk)
                    continue
            small.append(chunk)
            size += len(chunk)
        if small:
            transport.write(b"".join(small))


def _memory(request: Request) -> int:
    """Bytes that a request holds while it is in flight."""
    return request.length if request.command in (Command.READ, Command.WRITE) else 0
