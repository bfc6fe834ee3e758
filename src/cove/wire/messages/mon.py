"""Messages between a client and its monitor: maps, subscriptions, versions, commands and configuration.

Source: Ceph's messages/MMonMap.h, MMonGetMap.h, MMonSubscribe.h, MMonSubscribeAck.h, MMonGetVersion.h,
MMonGetVersionReply.h, MMonCommand.h, MMonCommandAck.h, MConfig.h, MPing.h.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag
from typing import ClassVar
from uuid import UUID

from ..encoding import Decoder, Encoder
from ..names import FSID
from ..structure import BLOB, I32, STR, U32, U64, Codec, map_of
from .base import PAXOS, PRIO_HIGH, STR_TO_STR, STRINGS, Field, Message

_LENGTH_BYTES = 4
"""Of a text: a ping with less than that has none."""


@dataclass(slots=True, kw_only=True)
class MPing(Message):
    """A sign of life. Only monitors answer it, with the same and their state as JSON in `text`."""

    TYPE = 2
    FRONT: ClassVar = (
        Field(
            "text",
            Codec(
                lambda encoder, text: encoder.str(text) if text else None,
                lambda decoder: decoder.str() if decoder.remaining >= _LENGTH_BYTES else "",
            ),
        ),
    )

    text: str = ""


@dataclass(slots=True, kw_only=True)
class MMonMap(Message):
    """Who the monitors are: an encoded monitor map."""

    TYPE = 4
    PRIORITY = PRIO_HIGH
    FRONT: ClassVar = (Field("monmap", BLOB),)

    monmap: bytes


@dataclass(slots=True, kw_only=True)
class MMonGetMap(Message):
    """Asks for the monitor map."""

    TYPE = 5


class SubscribeFlag(IntFlag):
    """How long a subscription lasts."""

    ONETIME = 1


@dataclass(frozen=True, slots=True)
class Subscription:
    """First epoch wanted (0: the newest full one), and flags."""

    start: int
    flags: SubscribeFlag = SubscribeFlag(0)


def _encode_subscription(encoder: Encoder, subscription: Subscription) -> None:
    encoder.u64(subscription.start)
    encoder.u8(subscription.flags)


def _decode_subscription(decoder: Decoder) -> Subscription:
    return Subscription(decoder.u64(), SubscribeFlag(decoder.u8()))


@dataclass(slots=True, kw_only=True)
class MMonSubscribe(Message):
    """What a client wants to be told by its monitor, and from which epoch on."""

    TYPE = 15
    HEAD_VERSION = 3
    OLDEST_VERSION = 2
    FRONT: ClassVar = (
        Field("what", map_of(STR, Codec(_encode_subscription, _decode_subscription))),
        Field("hostname", STR, since=3),
    )

    what: dict[str, Subscription]
    hostname: str = ""


@dataclass(slots=True, kw_only=True)
class MMonSubscribeAck(Message):
    """Renew within so many seconds. Not sent to peers whose subscriptions last as long as their session (all today)."""

    TYPE = 16
    PRIORITY = PRIO_HIGH
    FRONT: ClassVar = (Field("interval", U32), Field("fsid", FSID))

    interval: int
    fsid: UUID


@dataclass(slots=True, kw_only=True)
class MMonGetVersion(Message):
    """Which epoch of a map (osdmap, monmap, fsmap, mdsmap) is the newest? Other names are not answered."""

    TYPE = 19
    FRONT: ClassVar = (Field("handle", U64), Field("what", STR))

    handle: int
    what: str


@dataclass(slots=True, kw_only=True)
class MMonGetVersionReply(Message):
    """Newest and oldest epoch of a map; `handle` is the question's."""

    TYPE = 20
    HEAD_VERSION = 2
    COMPAT_VERSION = 2
    OLDEST_VERSION = 2
    PRIORITY = PRIO_HIGH
    FRONT: ClassVar = (Field("handle", U64), Field("version", U64), Field("oldest_version", U64))

    handle: int
    version: int
    oldest_version: int = 0


@dataclass(slots=True, kw_only=True)
class MMonCommand(Message):
    """A command for the monitors: one JSON text in `cmd`, and a file's content as its input."""

    TYPE = 50
    FRONT: ClassVar = (*PAXOS, Field("fsid", FSID), Field("cmd", STRINGS))
    DATA = "indata"

    fsid: UUID
    cmd: list[str] = field(repr=False)  # there may be keys in it
    indata: bytes = field(default=b"", repr=False)
    version: int = 0


@dataclass(slots=True, kw_only=True)
class MMonCommandAck(Message):
    """A command's result (negative errno), a text for people, and its output; `version` is the changed map's."""

    TYPE = 51
    PRIORITY = PRIO_HIGH
    FRONT: ClassVar = (*PAXOS, Field("result", I32), Field("status", STR), Field("cmd", STRINGS))
    DATA = "outdata"

    result: int
    status: str = ""
    cmd: list[str] = field(default_factory=list, repr=False)
    outdata: bytes = field(default=b"", repr=False)
    version: int = 0


@dataclass(slots=True, kw_only=True)
class MConfig(Message):
    """Options from the monitors' central configuration."""

    TYPE = 62
    PRIORITY = PRIO_HIGH
    FRONT: ClassVar = (Field("config", STR_TO_STR),)

    config: dict[str, str] = field(repr=False)
