"""The messages that cross a bus, and their JSON form. Pure: no socket, no queue.

Field names are those of oslo.messaging's envelope (`_msg_id`, `_unique_id`, `failure`, `ending`), so that a
RabbitMQ bus sends the same structures.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from cove.bus.base import BusError, RemoteError


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call (with `msg_id`) or a cast or fanout (without)."""

    method: str
    args: dict[str, Any]
    version: str
    unique_id: str = msgspec.field(name="_unique_id")
    msg_id: str | None = msgspec.field(name="_msg_id", default=None)


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """An exception of the other side: its class name, module and text."""

    class_name: str = msgspec.field(name="class")
    module: str
    message: str


class Reply(msgspec.Struct, frozen=True):
    """The answer to the call `msg_id`: a result, or a failure."""

    msg_id: str = msgspec.field(name="_msg_id")
    result: Any = None
    failure: Failure | None = None
    ending: bool = True


class Notification(msgspec.Struct, frozen=True):
    """An event for whoever listens."""

    event_type: str
    payload: dict[str, Any]


_encoder = msgspec.json.Encoder()
_request_decoder = msgspec.json.Decoder(Request)
_reply_decoder = msgspec.json.Decoder(Reply)
_notification_decoder = msgspec.json.Decoder(Notification)


def new_id() -> str:
    """32 hexadecimal digits, as oslo.messaging's ids have."""
    return os.urandom(16).hex()


def encode(message: Request | Reply | Notification) -> bytes:
    """The message as JSON. Raises BusError if a value has no JSON form."""
    try:
        return _encoder.encode(message)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise BusError(f"cannot send {type(message).__name__}: {error}; send JSON values only") from error


def decode_request(data: bytes) -> Request:
    """A request from its JSON. Raises BusError if it is none."""
    try:
        return _request_decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BusError(f"malformed request on the bus: {error}") from error


def decode_reply(data: bytes) -> Reply:
    """A reply from its JSON. Raises BusError if it is none."""
    try:
        return _reply_decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BusError(f"malformed reply on the bus: {error}") from error


def decode_notification(data: bytes) -> Notification:
    """A notification from its JSON. Raises BusError if it is none."""
    try:
        return _notification_decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BusError(f"malformed notification on the bus: {error}") from error


def failure_of(error: BaseException) -> Failure:
    """What a caller gets to know of an exception: a RemoteError passes through under its own type."""
    if isinstance(error, RemoteError):
        return Failure(error.exc_type, "", error.message)
    return Failure(type(error).__name__, type(error).__module__, str(error))
