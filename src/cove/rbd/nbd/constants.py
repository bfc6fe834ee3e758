"""The numbers of the NBD protocol: magics, options, replies, requests, chunks, flags, errors and our limits.

Source: NetworkBlockDevice project, doc/proto.md (newstyle handshake, structured replies, metadata contexts).
"""

from __future__ import annotations

import errno
from enum import IntEnum, IntFlag

INIT_MAGIC = 0x4E42444D41474943
OPTION_MAGIC = 0x49484156454F5054
OPTION_REPLY_MAGIC = 0x0003E889045565A9
REQUEST_MAGIC = 0x25609513
SIMPLE_REPLY_MAGIC = 0x67446698
CHUNK_MAGIC = 0x668E33EF

REQUEST_SIZE_BYTES_MAX = 32 << 20
"""Longest payload of a read or a write; clients take 32 MiB for granted."""
BLOCK_SIZE_MIN = 1
BLOCK_SIZE_PREFERRED = 4096
STRING_BYTES_MAX = 4096
"""Longest export name or other string that the protocol allows."""
OPTION_BYTES_MAX = 16 << 10
"""Longest option data that is looked at; anything longer is skipped and refused."""
OPTION_SKIP_BYTES_MAX = 1 << 20
"""An option that claims to be longer than this ends the session."""
OPTIONS_MAX = 256
"""Options of one handshake; a client that sends more is not negotiating."""
QUERIES_MAX = 64
"""Metadata context queries in one option."""
STATUS_EXTENTS_MAX = 8192
"""Extents in one answer to a block-status request; the client asks again for the rest."""
PAYLOAD_SKIP_BYTES_MAX = 256 << 20
"""A refused write's payload is read and dropped up to this length; beyond it the session ends."""

DEFAULT_CONTEXT = "base:allocation"
DEFAULT_CONTEXT_ID = 1


class HandshakeFlag(IntFlag):
    """Sent by the server in the greeting, and echoed by the client."""

    FIXED_NEWSTYLE = 1
    NO_ZEROES = 2


class Option(IntEnum):
    """What a client can ask for during the handshake."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    PEEK_EXPORT = 4
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10
    EXTENDED_HEADERS = 11


class Reply(IntEnum):
    """Answers to options; the top bit marks an error."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = 0x80000001
    ERR_POLICY = 0x80000002
    ERR_INVALID = 0x80000003
    ERR_PLATFORM = 0x80000004
    ERR_TLS_REQD = 0x80000005
    ERR_UNKNOWN = 0x80000006
    ERR_SHUTDOWN = 0x80000007
    ERR_BLOCK_SIZE_REQD = 0x80000008
    ERR_TOO_BIG = 0x80000009


class Info(IntEnum):
    """Kinds of information about an export."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class ExportFlag(IntFlag):
    """What an export can do ("transmission flags")."""

    HAS_FLAGS = 1
    READ_ONLY = 2
    SEND_FLUSH = 4
    SEND_FUA = 8
    ROTATIONAL = 16
    SEND_TRIM = 32
    SEND_WRITE_ZEROES = 64
    SEND_DF = 128
    CAN_MULTI_CONN = 256
    SEND_RESIZE = 512
    SEND_CACHE = 1024
    SEND_FAST_ZERO = 2048


class Command(IntEnum):
    """Requests of the transmission phase."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(IntFlag):
    """Flags of a request."""

    FUA = 1
    NO_HOLE = 2
    DF = 4
    REQ_ONE = 8
    FAST_ZERO = 16


COMMAND_FLAGS: dict[Command, CommandFlag] = {
    Command.READ: CommandFlag.FUA | CommandFlag.DF,
    Command.WRITE: CommandFlag.FUA,
    Command.DISC: CommandFlag(0xFFFF),
    Command.FLUSH: CommandFlag.FUA,
    Command.TRIM: CommandFlag.FUA,
    Command.CACHE: CommandFlag.FUA,
    Command.WRITE_ZEROES: CommandFlag.FUA | CommandFlag.NO_HOLE,
    Command.BLOCK_STATUS: CommandFlag.FUA | CommandFlag.REQ_ONE,
}
"""Flags that each command may carry. FAST_ZERO is not advertised, hence refused."""

MODIFYING = frozenset({Command.WRITE, Command.TRIM, Command.WRITE_ZEROES})
"""Commands that a read-only export answers with EPERM."""


class ChunkType(IntEnum):
    """Chunks of a structured reply; the top bit marks an error."""

    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    ERROR = 0x8001
    ERROR_OFFSET = 0x8002


CHUNK_DONE = 1


class StatusFlag(IntFlag):
    """Flags of `base:allocation`."""

    HOLE = 1
    ZERO = 2


class ErrorCode(IntEnum):
    """Error numbers that may appear in a reply."""

    OK = 0
    EPERM = 1
    EIO = 5
    ENOMEM = 12
    EINVAL = 22
    ENOSPC = 28
    EOVERFLOW = 75
    ENOTSUP = 95
    ESHUTDOWN = 108


ERRNO_TO_CODE: dict[int, ErrorCode] = {
    errno.EPERM: ErrorCode.EPERM,
    errno.EACCES: ErrorCode.EPERM,
    errno.EROFS: ErrorCode.EPERM,
    errno.EBUSY: ErrorCode.EPERM,
    errno.ENOMEM: ErrorCode.ENOMEM,
    errno.EINVAL: ErrorCode.EINVAL,
    errno.ENOSPC: ErrorCode.ENOSPC,
    errno.EDQUOT: ErrorCode.ENOSPC,
    errno.EFBIG: ErrorCode.ENOSPC,
    errno.EOPNOTSUPP: ErrorCode.ENOTSUP,
    errno.ESHUTDOWN: ErrorCode.ESHUTDOWN,
    errno.EPIPE: ErrorCode.ESHUTDOWN,
}
"""How the errors of a backend are told to a client; any other is EIO."""


def error_code(number: int) -> ErrorCode:
    """The NBD error for an errno (of either sign)."""
    return ERRNO_TO_CODE.get(abs(number), ErrorCode.EIO)
