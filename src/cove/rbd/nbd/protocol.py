"""The server's side of one NBD session as a state machine without I/O: bytes in, events out, bytes to send.

The shell (`server.py`) asks `get_buffer` where to receive, tells `buffer_updated`, and takes events from
`next_event` until it gives None; replies queue up in `data_to_send`.

    CLIENT_FLAGS ─► OPTION ─► OPTION_DATA ─► OPTION … ─► EXPORT_PENDING ─► REQUEST ─► PAYLOAD ─► REQUEST …
                      │          (longer than we read: OPTION_SKIP)          │
                      └─ abort ─► CLOSED ◄────────────── disconnect ─────────┘   (refused writes: PAYLOAD_SKIP)

In EXPORT_PENDING nothing is parsed until the shell has answered, with `accept_export` or `refuse_export`.
Any bytes give an event, a reply or a `ProtocolError`; memory is bounded by one receive buffer, one option and
one payload.

Source: NetworkBlockDevice project, doc/proto.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from . import replies
from .constants import (
    BLOCK_SIZE_MIN,
    BLOCK_SIZE_PREFERRED,
    COMMAND_FLAGS,
    DEFAULT_CONTEXT,
    DEFAULT_CONTEXT_ID,
    MODIFYING,
    OPTION_BYTES_MAX,
    OPTION_MAGIC,
    OPTION_SKIP_BYTES_MAX,
    OPTIONS_MAX,
    PAYLOAD_SKIP_BYTES_MAX,
    REQUEST_MAGIC,
    REQUEST_SIZE_BYTES_MAX,
    STATUS_EXTENTS_MAX,
    STRING_BYTES_MAX,
    Command,
    CommandFlag,
    ErrorCode,
    ExportFlag,
    HandshakeFlag,
    Info,
    Option,
    Reply,
    StatusFlag,
)
from .handshake import InfoQuery, OptionError, decode_name, expect_empty, parse_contexts, parse_info
from .payload import RECEIVE_AT_ONCE_BYTES, payload_memory
from .replies import Buffer, Segment

RECEIVE_BYTES = 64 << 10
_NO_PAYLOAD = memoryview(b"")
_FLAGS = struct.Struct(">I")
_OPTION = struct.Struct(">QII")
_REQUEST = struct.Struct(">IHHQQI")


class ProtocolError(Exception):
    """The client broke the protocol in a way that can't be answered: the session must be closed."""


class State(Enum):
    """Where the session is."""

    CLIENT_FLAGS = auto()
    OPTION = auto()
    OPTION_DATA = auto()
    OPTION_SKIP = auto()
    EXPORT_PENDING = auto()
    REQUEST = auto()
    PAYLOAD = auto()
    PAYLOAD_SKIP = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class ExportWanted:
    """The client names an export. `option` INFO only asks about it, GO and EXPORT_NAME begin to use it."""

    query: InfoQuery
    option: Option

    @property
    def name(self) -> str:
        """The export's name; empty is the default export."""
        return self.query.name


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has passed every check that needs no backend. `payload` belongs to the receiver."""

    command: Command
    flags: CommandFlag
    cookie: int
    offset: int
    length: int
    payload: memoryview | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The client said goodbye: answer what is in flight, then close."""


Event = ExportWanted | Request | Finished


@dataclass(frozen=True, slots=True)
class ExportInfo:
    """What the client is told about an export. `size` in bytes."""

    name: str
    size: int
    read_only: bool = False
    description: str = ""

    @property
    def flags(self) -> ExportFlag:
        """The transmission flags. Several connections are only promised where nobody writes."""
        flags = ExportFlag.HAS_FLAGS | ExportFlag.SEND_FLUSH | ExportFlag.SEND_FUA | ExportFlag.SEND_CACHE
        if self.read_only:
            return flags | ExportFlag.READ_ONLY | ExportFlag.CAN_MULTI_CONN
        return flags | ExportFlag.SEND_TRIM | ExportFlag.SEND_WRITE_ZEROES


class ServerConnection:
    """One client's session. `exports` gives the names of the exports, for listings and metadata contexts."""

    def __init__(self, exports: Callable[[], Sequence[str]]) -> None:
        self.state = State.CLIENT_FLAGS
        self.structured = False
        self._exports = exports
        self._receive = bytearray(RECEIVE_BYTES)
        self._view = memoryview(self._receive)
        self._start = self._end = 0
        self._out: list[Buffer] = [replies.greeting()]
        self._no_zeroes = self._fixed = False
        self._options = 0
        self._option = 0
        self._length = 0
        self._context_export: str | None = None
        self._wanted: ExportWanted | None = None
        self._info: ExportInfo | None = None
        self._payload = _NO_PAYLOAD
        self._filled = 0
        self._request: Request | None = None
        self._refusal: tuple[int, ErrorCode, str] = (0, ErrorCode.OK, "")
        self._steps: dict[State, Callable[[], Event | bool]] = {
            State.CLIENT_FLAGS: self._step_client_flags,
            State.OPTION: self._step_option,
            State.OPTION_DATA: self._step_option_data,
            State.OPTION_SKIP: self._step_skip,
            State.REQUEST: self._step_request,
            State.PAYLOAD: self._step_payload,
            State.PAYLOAD_SKIP: self._step_skip,
        }

    # bytes in ---------------------------------------------------------------------------------------------------

    def get_buffer(self) -> memoryview:
        """Where the next bytes go: a payload's own memory where possible. Empty while an answer is awaited."""
        if self.state is State.PAYLOAD and self._start == self._end:
            return self._payload[self._filled : self._filled + RECEIVE_AT_ONCE_BYTES]
        if self._start:
            held = self._end - self._start
            self._view[:held] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, held
        return self._view[self._end :]

    def buffer_updated(self, length: int) -> None:
        """So many bytes have been received into what `get_buffer` gave."""
        if self.state is State.PAYLOAD and self._start == self._end:
            self._filled += length
        else:
            self._end += length

    def data_to_send(self) -> list[Buffer]:
        """Takes what is queued for the client."""
        out, self._out = self._out, []
        return out

    def next_event(self) -> Event | None:
        """The next thing for the shell to act on, None when more bytes or an answer are needed.

        Raises ProtocolError when the session can't go on.
        """
        while True:
            step = self._steps.get(self.state)
            if step is None:
                return None
            try:
                result = step()
            except ProtocolError:
                self.state = State.CLOSED
                raise
            if result is False:
                return None
            if result is not True:
                return result

    def _take(self, length: int) -> memoryview | None:
        if self._end - self._start < length:
            return None
        piece = self._view[self._start : self._start + length]
        self._start += length
        if self._start == self._end:
            self._start = self._end = 0
        return piece

    # handshake --------------------------------------------------------------------------------------------------

    def _step_client_flags(self) -> bool:
        raw = self._take(_FLAGS.size)
        if raw is None:
            return False
        (flags,) = _FLAGS.unpack(raw)
        if flags & ~int(HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES):
            raise ProtocolError(f"unknown client flags {flags:#x}")
        self._fixed = bool(flags & HandshakeFlag.FIXED_NEWSTYLE)
        self._no_zeroes = bool(flags & HandshakeFlag.NO_ZEROES)
        self.state = State.OPTION
        return True

    def _step_option(self) -> bool:
        raw = self._take(_OPTION.size)
        if raw is None:
            return False
        magic, self._option, self._length = _OPTION.unpack(raw)
        if magic != OPTION_MAGIC:
            raise ProtocolError(f"option magic {magic:#x}")
        self._options += 1
        if self._options > OPTIONS_MAX:
            raise ProtocolError(f"more than {OPTIONS_MAX} options")
        if self._option == Option.EXPORT_NAME:
            # this option has no error reply: whatever is wrong ends the session
            if self._length > STRING_BYTES_MAX:
                raise ProtocolError(f"export name of {self._length} bytes")
        elif not self._fixed:
            raise ProtocolError(f"option {self._option} from a client without fixed newstyle")
        elif self._length > OPTION_SKIP_BYTES_MAX:
            raise ProtocolError(f"option {self._option} with {self._length} bytes of data")
        elif self._length > OPTION_BYTES_MAX:
            self._refusal = (self._option, ErrorCode.OK, f"{self._length} bytes, at most {OPTION_BYTES_MAX}")
            self.state = State.OPTION_SKIP
            return True
        self.state = State.OPTION_DATA
        return True

    def _step_option_data(self) -> Event | bool:
        raw = self._take(self._length)
        if raw is None:
            return False
        data, self.state = bytes(raw), State.OPTION
        try:
            return self._handle_option(data)
        except OptionError as error:
            if self._option == Option.EXPORT_NAME:
                raise ProtocolError(error.message) from None
            self._reply(error.reply, replies.text(error.message))
            return True

    def _handle_option(self, data: bytes) -> Event | bool:
        match self._option:
            case Option.EXPORT_NAME:
                return self._want(InfoQuery(decode_name(data, "export name"), frozenset()))
            case Option.GO | Option.INFO:
                return self._want(parse_info(data))
            case Option.ABORT:
                self._reply(Reply.ACK)
                self.state = State.CLOSED
                return Finished()
            case Option.LIST:
                expect_empty(data)
                for name in self._exports():
                    raw = name.encode()
                    self._reply(Reply.SERVER, struct.pack(">I", len(raw)) + raw)
                self._reply(Reply.ACK)
            case Option.STRUCTURED_REPLY:
                expect_empty(data)
                self.structured = True
                self._reply(Reply.ACK)
            case Option.LIST_META_CONTEXT | Option.SET_META_CONTEXT:
                self._handle_contexts(data)
            case _:
                raise OptionError(Reply.ERR_UNSUP, f"option {self._option} is not supported")
        return True

    def _handle_contexts(self, data: bytes) -> None:
        setting = self._option == Option.SET_META_CONTEXT
        if setting:
            self._context_export = None
        if not self.structured:
            raise OptionError(Reply.ERR_INVALID, "metadata contexts need structured replies: negotiate those first")
        query = parse_contexts(data)
        if self.resolve(query.name) is None:
            raise OptionError(Reply.ERR_UNKNOWN, f"there is no export {query.name!r}")
        if query.selects_allocation(listing=not setting):
            identity = DEFAULT_CONTEXT_ID if setting else 0
            self._reply(Reply.META_CONTEXT, struct.pack(">I", identity) + DEFAULT_CONTEXT.encode())
            if setting:
                self._context_export = query.name
        self._reply(Reply.ACK)

    def resolve(self, name: str) -> str | None:
        """The export meant by a name: the empty one means the only export. None: there is no such export."""
        names = self._exports()
        if name in names:
            return name
        return names[0] if name == "" and len(names) == 1 else None

    def _want(self, query: InfoQuery) -> ExportWanted:
        self.state = State.EXPORT_PENDING
        self._wanted = ExportWanted(query, Option(self._option))
        return self._wanted

    def _reply(self, reply: Reply, data: bytes = b"") -> None:
        self._out.append(replies.option_reply(self._option, reply, data))

    def accept_export(self, info: ExportInfo) -> None:
        """Answer an ExportWanted: tell the client about the export and, unless it only asked, begin transmission."""
        wanted = self._pending()
        flags = info.flags | (ExportFlag.SEND_DF if self.structured else 0)
        if wanted.option == Option.EXPORT_NAME:
            self._out.append(struct.pack(">QH", info.size, flags) + (b"" if self._no_zeroes else bytes(124)))
        else:
            self._reply(Reply.INFO, replies.info_export(info.size, flags))
            if wanted.query.wants(Info.NAME):
                self._reply(Reply.INFO, replies.info_text(Info.NAME, info.name))
            if wanted.query.wants(Info.DESCRIPTION) and info.description:
                self._reply(Reply.INFO, replies.info_text(Info.DESCRIPTION, info.description))
            sizes = replies.info_block_size(BLOCK_SIZE_MIN, BLOCK_SIZE_PREFERRED, REQUEST_SIZE_BYTES_MAX)
            self._reply(Reply.INFO, sizes)
            self._reply(Reply.ACK)
        if wanted.option == Option.INFO:
            self.state = State.OPTION
            return
        self._info = info
        if self._context_export != wanted.name:
            self._context_export = None
        self.state = State.REQUEST

    def refuse_export(self, reply: Reply, message: str) -> None:
        """Answer an ExportWanted with an error. Raises ProtocolError where the option knows no error reply."""
        wanted = self._pending()
        if wanted.option == Option.EXPORT_NAME:
            self.state = State.CLOSED
            raise ProtocolError(message)
        self._reply(reply, replies.text(message))
        self.state = State.OPTION

    def _pending(self) -> ExportWanted:
        if self._wanted is None or self.state is not State.EXPORT_PENDING:
            raise RuntimeError("no export is being asked for")
        wanted, self._wanted = self._wanted, None
        return wanted

    # transmission -----------------------------------------------------------------------------------------------

    def _step_request(self) -> Event | bool:
        raw = self._take(_REQUEST.size)
        if raw is None:
            return False
        magic, flags, kind, cookie, offset, length = _REQUEST.unpack(raw)
        if magic != REQUEST_MAGIC:
            raise ProtocolError(f"request magic {magic:#x}")
        try:
            command = Command(kind)
        except ValueError:
            self._fail(cookie, ErrorCode.EINVAL, f"unknown command {kind}")
            return True
        if command is Command.DISC:
            self.state = State.CLOSED
            return Finished()
        refusal = self._check(command, flags, offset, length)
        if command is Command.WRITE:
            return self._begin_payload(flags, cookie, offset, length, refusal)
        if refusal is not None:
            self._fail(cookie, *refusal)
            return True
        return Request(command, CommandFlag(flags), cookie, offset, length)

    def _check(self, command: Command, flags: int, offset: int, length: int) -> tuple[ErrorCode, str] | None:
        info = self._info
        assert info is not None
        allowed = COMMAND_FLAGS[command] if self.structured else COMMAND_FLAGS[command] & ~CommandFlag.DF
        if flags & ~int(allowed):
            return ErrorCode.EINVAL, f"flags {flags:#x} are not allowed for {command.name}"
        if info.read_only and command in MODIFYING:
            return ErrorCode.EPERM, "the export is read-only"
        if command is Command.FLUSH:
            # offset and length must be zero; clients that send others mean the same
            return None
        if command in (Command.READ, Command.WRITE) and length > REQUEST_SIZE_BYTES_MAX:
            return ErrorCode.EINVAL, f"{length} bytes are too many for one request, at most {REQUEST_SIZE_BYTES_MAX}"
        if offset + length > info.size:
            code = ErrorCode.ENOSPC if command in (Command.WRITE, Command.WRITE_ZEROES) else ErrorCode.EINVAL
            return code, f"offset {offset} + length {length} is beyond the export's size {info.size}"
        if command is Command.BLOCK_STATUS and (self._context_export is None or length == 0):
            return ErrorCode.EINVAL, "block status needs a metadata context and a length"
        return None

    def _begin_payload(
        self, flags: int, cookie: int, offset: int, length: int, refusal: tuple[ErrorCode, str] | None
    ) -> bool:
        self._length = length
        if refusal is None:
            self._payload, self._filled = payload_memory(length), 0
            self._request = Request(Command.WRITE, CommandFlag(flags), cookie, offset, length, self._payload)
            self.state = State.PAYLOAD
        elif length > PAYLOAD_SKIP_BYTES_MAX:
            raise ProtocolError(f"a write of {length} bytes")
        else:
            self._refusal = (cookie, *refusal)
            self.state = State.PAYLOAD_SKIP
        return True

    def _step_payload(self) -> Event | bool:
        count = min(self._end - self._start, self._length - self._filled)
        if count:
            piece = self._take(count)
            assert piece is not None
            self._payload[self._filled : self._filled + count] = piece
            self._filled += count
        if self._filled < self._length:
            return False
        request, self._request = self._request, None
        self._payload = _NO_PAYLOAD
        self.state = State.REQUEST
        assert request is not None
        return request

    def _step_skip(self) -> bool:
        count = min(self._end - self._start, self._length)
        self._take(count)
        self._length -= count
        if self._length:
            return False
        subject, code, message = self._refusal
        if self.state is State.OPTION_SKIP:
            self._reply(Reply.ERR_TOO_BIG, replies.text(message))
            self.state = State.OPTION
        else:
            self._fail(subject, code, message)
            self.state = State.REQUEST
        return True

    # replies ----------------------------------------------------------------------------------------------------

    def _fail(self, cookie: int, code: ErrorCode, message: str) -> None:
        if self.structured:
            self._out.append(replies.error_chunk(cookie, code, message))
        else:
            self._out.append(replies.simple_reply(cookie, code))

    def reply_error(self, request: Request, code: ErrorCode, message: str) -> None:
        """The request failed."""
        self._fail(request.cookie, code, message)

    def reply_done(self, request: Request) -> None:
        """The request succeeded, and has no payload to give back."""
        self._out.append(replies.simple_reply(request.cookie))

    def reply_read(self, request: Request, segments: Sequence[Segment]) -> None:
        """The bytes read. Holes travel as holes if the client understands them and did not ask for one chunk."""
        whole = bool(request.flags & CommandFlag.DF)
        if self.structured and not (whole and len(segments) > 1):
            self._out += replies.read_chunks(request.cookie, request.offset, segments)
        elif self.structured:
            data = b"".join(bytes(length) if data is None else data for length, data in segments)
            self._out += replies.read_chunks(request.cookie, request.offset, [(len(data), data)])
        else:
            self._out.append(replies.simple_reply(request.cookie))
            self._out += (bytes(length) if data is None else data for length, data in segments)

    def reply_status(self, request: Request, extents: Sequence[tuple[int, bool]]) -> None:
        """Lengths of consecutive extents from the request's offset on, and whether each holds data."""
        one = bool(request.flags & CommandFlag.REQ_ONE)
        merged: list[tuple[int, StatusFlag]] = []
        for length, allocated in extents:
            flags = StatusFlag(0) if allocated else StatusFlag.HOLE | StatusFlag.ZERO
            if merged and merged[-1][1] == flags:
                merged[-1] = (merged[-1][0] + length, flags)
            elif len(merged) < (1 if one else STATUS_EXTENTS_MAX):
                merged.append((length, flags))
            else:
                break
        self._out.append(replies.status_chunk(request.cookie, DEFAULT_CONTEXT_ID, merged))
