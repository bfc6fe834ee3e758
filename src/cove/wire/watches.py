"""Watch and notify: who watches an object, and the inputs and outputs of the operations and messages around it.

    notify op (NotifyRequest) -> its output is the notify id (u64) -> an MWatchNotify to every watcher
    -> each answers by a notify_ack op (NotifyAck) -> an MWatchNotify to the notifier, with NotifyReplies as its data

Source: Ceph's osd/osd_types.h (`watch_item_t`, `obj_list_watch_response_t`, `watch_info_t`), osd/Watch.cc,
osdc/Objecter.h (inputs of notify and notify_ack).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar, NamedTuple

from .address import ADDR, BLANK, EntityAddr
from .encoding import Decoder, Encoder
from .names import ENTITY
from .structure import BLOB, U32, U64, Codec, Structure, list_of, map_of, trailing
from .types import EntityName, EntityType

NOTIFY_VERSION = 1
"""First field of a notify's input; OSDs do not look at it."""


class WatchSubOp(IntEnum):
    """What a watch operation does."""

    UNWATCH = 0
    LEGACY_WATCH = 1
    WATCH = 3
    RECONNECT = 5
    PING = 7


@dataclass(frozen=True, slots=True)
class WatchItem(Structure):
    """One entry of list_watchers. `timeout` is in seconds."""

    name: EntityName = EntityName(EntityType.UNSET, 0)
    cookie: int = 0
    timeout: int = 0
    address: EntityAddr = BLANK

    FRAME: ClassVar = (2, 1)
    FIELDS: ClassVar = (("name", ENTITY), ("cookie", U64), ("timeout", U32), ("address", trailing(ADDR, BLANK)))


@dataclass(frozen=True, slots=True)
class WatchList(Structure):
    """Output of list_watchers."""

    entries: list[WatchItem] = field(default_factory=list)

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (("entries", list_of(WatchItem.codec())),)


@dataclass(frozen=True, slots=True)
class WatchInfo(Structure):
    """A watch as it is kept with the object, so that it outlives the OSD's process. `timeout` is in seconds."""

    cookie: int = 0
    timeout: int = 0
    address: EntityAddr = BLANK

    FRAME: ClassVar = (4, 3)
    FIELDS: ClassVar = (("cookie", U64), ("timeout", U32), ("address", trailing(ADDR, BLANK)))


@dataclass(frozen=True, slots=True)
class NotifyRequest(Structure):
    """Input of notify: seconds until it is over without all answers (0: the OSD's default), and what to tell."""

    timeout: int
    payload: bytes = b""
    version: int = NOTIFY_VERSION

    FIELDS: ClassVar = (("version", U32), ("timeout", U32), ("payload", BLOB))


@dataclass(frozen=True, slots=True)
class NotifyAck(Structure):
    """Input of notify_ack: which notify, for which watch, and what to answer."""

    notify_id: int
    cookie: int
    payload: bytes = b""

    FIELDS: ClassVar = (("notify_id", U64), ("cookie", U64), ("payload", trailing(BLOB, b"")))


class WatcherId(NamedTuple):
    """A watch: the client's global id, and the cookie that it chose."""

    client: int
    cookie: int


def _encode_watcher(encoder: Encoder, watcher: WatcherId) -> None:
    encoder.u64(watcher.client)
    encoder.u64(watcher.cookie)


WATCHER: Codec[WatcherId] = Codec(_encode_watcher, lambda decoder: WatcherId(decoder.u64(), decoder.u64()))


@dataclass(frozen=True, slots=True)
class NotifyReplies(Structure):
    """What a notify brought: the answers, and the watches that did not answer in time."""

    answers: dict[WatcherId, bytes] = field(default_factory=dict)
    missed: list[WatcherId] = field(default_factory=list)

    FIELDS: ClassVar = (("answers", map_of(WATCHER, BLOB)), ("missed", list_of(WATCHER)))

    @classmethod
    def decode(cls, decoder: Decoder) -> NotifyReplies:
        """An OSD that could not send any leaves all of it out."""
        return cls.decode_fields(decoder) if decoder.remaining else cls()
