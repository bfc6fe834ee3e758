"""`Job`: one request on its way through the OSD, and what can be told from the request alone.

Source: Ceph's osd/OpRequest, osd_reqid_t.
"""

from __future__ import annotations

from functools import lru_cache

from ..messenger import Connection
from ..wire.cls_lock import AddressType, EntityAddress
from ..wire.messages import MOSDOp
from ..wire.osd_ops import Extent, OpCode, RequestFlag
from ..wire.types import EntityName
from .context import Requester
from .dups import OUTPUT_MAX, RequestId
from .interpreter import Access

_NO_ACCESS = Access(False, False)
_RETURNVEC = int(RequestFlag.RETURNVEC)


class Job:
    """One request and where its answer goes."""

    __slots__ = ("access", "connection", "epoch", "key", "message")

    def __init__(self, connection: Connection, message: MOSDOp) -> None:
        self.connection = connection
        self.message = message
        self.access = _NO_ACCESS
        self.key = b""
        self.epoch = 0

    @property
    def request_id(self) -> RequestId:
        """What tells a request that comes again."""
        message = self.message
        if message.reqid is not None and (message.reqid.tid or message.reqid.name.type):
            name, inc, tid = message.reqid
        else:
            name, inc, tid = self.connection.peer_name, message.client_inc, message.tid
        return int(name.type), name.number, inc, tid


def kept_operations(message: MOSDOp, result: int) -> tuple[tuple[int, bytes], ...]:
    """What a repetition of the request must be told of its operations; nothing, where all is 0."""
    if result >= 0 and not message.flags & _RETURNVEC:
        return ()
    outputs = [(op.rval, bytes(op.outdata) if len(op.outdata) <= OUTPUT_MAX else b"") for op in message.ops]
    return tuple(outputs) if any(rval or output for rval, output in outputs) else ()


_READS = frozenset((OpCode.READ, OpCode.SPARSE_READ, OpCode.SYNC_READ, OpCode.CHECKSUM, OpCode.CMPEXT))


def bytes_wanted(message: MOSDOp, size: int) -> int:
    """How many bytes a request reads from an object of that size, at most."""
    wanted = 0
    for op in message.ops:
        if op.code in _READS:
            length = op.params.length if isinstance(op.params, Extent) else 0
            wanted += min(length or size, size)
    return wanted


@lru_cache(maxsize=1024)
def requester_of(name: EntityName) -> Requester:
    """Who sent it. A loopback peer has no address: it gets the local host's, with its number as the nonce."""
    return Requester(name, EntityAddress.ipv4("127.0.0.1", 0, name.number & 0xFFFFFFFF, AddressType.LEGACY))
