"""Authentication on an open session with a monitor: tickets are renewed by these two. (Log-in itself is in frames.)

Source: Ceph's messages/MAuth.h, MAuthReply.h.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..structure import BLOB, I32, STR, U32, U64, trailing
from .base import PAXOS, PRIO_HIGH, Field, Message


@dataclass(slots=True, kw_only=True)
class MAuth(Message):
    """A request in the language of the authentication method `protocol`."""

    TYPE = 17
    FRONT: ClassVar = (
        *PAXOS,
        Field("protocol", U32),
        Field("payload", BLOB),
        Field("monmap_epoch", trailing(U32, 0)),
    )

    protocol: int
    payload: bytes = field(repr=False)
    monmap_epoch: int = 0
    version: int = 0


@dataclass(slots=True, kw_only=True)
class MAuthReply(Message):
    """Its answer: a result (negative errno), the client's global id, and what the method says."""

    TYPE = 18
    PRIORITY = PRIO_HIGH
    FRONT: ClassVar = (
        Field("protocol", U32),
        Field("result", I32),
        Field("global_id", U64),
        Field("payload", BLOB),
        Field("text", STR),
    )

    protocol: int
    result: int
    global_id: int = 0
    payload: bytes = field(default=b"", repr=False)
    text: str = ""
