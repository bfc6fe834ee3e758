"""Any bytes are a message or a PeerError; what is a message survives being encoded and decoded again."""

from __future__ import annotations

from typing import Any

from cove.wire.errors import PeerError, UsageError
from cove.wire.features import SERVER_SQUID, SUPPORTED
from cove.wire.message_codec import MessageHeader, decode_message, encode_message
from cove.wire.messages import MESSAGES, Message, MOSDOp
from cove.wire.op_codec import PARAMS_OF
from cove.wire.osd_ops import OSDOp, RawParams
from cove.wire.types import ObjectLocator, PgId
from tests.golden import recorder

NEWEST = SUPPORTED | SERVER_SQUID
"""Features with which every message is encoded in the newest layout known."""


def content(message: Message) -> tuple[Any, ...]:
    """Everything in a message, in a form that can be compared."""
    values = []
    for name in sorted({*type(message).__dataclass_fields__}):
        value = getattr(message, name)
        if name == "ops":
            value = [(op.code, op.flags, op.params, bytes(op.indata), op.outdata, op.rval) for op in value]
        values.append(value)
    return type(message), *values


def one_input(data: bytes) -> None:
    """Byte 0 chooses the type, byte 1 the version, two bytes say how long the front is; the rest is front and data."""
    if len(data) < 4:
        return
    cls = MESSAGES[data[0] % len(MESSAGES)]
    version = data[1] % (cls.HEAD_VERSION + 2)
    length = int.from_bytes(data[2:4], "little")
    front, payload = data[4 : 4 + length], data[4 + length :]
    header = MessageHeader(tid=1, type=cls.TYPE, version=version, compat_version=cls.COMPAT_VERSION)
    try:
        message = decode_message(header, front, b"", payload)
    except PeerError:
        return
    try:
        parts = encode_message(message, NEWEST)
    except UsageError:
        return  # a time of more seconds than fit
    again = header._replace(version=parts.version, compat_version=parts.compat_version)
    assert content(decode_message(again, parts.front, b"", b"".join(parts.data))) == content(message)


def seeds() -> list[bytes]:
    """Sound messages: those that have been recorded, and one of each operation."""
    found = []
    for entry in recorder.load_index():
        header, front, data = recorder.load(entry)
        found.append(_input(header.type, header.version, front, data))
    for code, kind in PARAMS_OF.items():
        layout = None if kind is None else RawParams(bytes(28))
        op = OSDOp(code, layout, b"input")
        request = MOSDOp(pg=PgId(1, 2), raw_hash=2, epoch=3, flags=4, oid="o", locator=ObjectLocator(1), ops=[op])
        parts = encode_message(request, NEWEST)
        found.append(_input(parts.type, parts.version, bytes(parts.front), b"input"))
    return found


def _input(number: int, version: int, front: bytes, data: bytes) -> bytes:
    at = [cls.TYPE for cls in MESSAGES].index(number)
    return bytes((at, version)) + len(front).to_bytes(2, "little") + front + data


if __name__ == "__main__":
    from tests.fuzz.runner import main

    main(one_input, seeds())
