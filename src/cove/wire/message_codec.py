"""Messages to bytes and back: chooses the layout for a peer's features, and finds the class of what arrives.

    send:     Message -> encode_message -> MessageParts -> link (numbers it, cuts it into a frame)
    receive:  frame -> link -> MessageHeader and segments -> decode_message -> Message

Source: Ceph's msg/Message.cc (`decode_message`).
"""

from __future__ import annotations

from .encoding import Buffer
from .errors import PeerError
from .messages import MESSAGES, Message, MessageHeader, MessageParts

__all__ = ["MessageHeader", "MessageParts", "decode_message", "encode_message"]

_CLASSES = {cls.TYPE: cls for cls in MESSAGES}


def encode_message(message: Message, features: int) -> MessageParts:
    """A message's parts in the layout for a peer with these feature bits; large payloads are not copied.

    Raises UsageError if a field does not fit, PeerError if the peer only knows layouts from before release 16.
    """
    return message.to_parts(features)


def decode_message(header: MessageHeader, front: Buffer, middle: Buffer, data: Buffer) -> Message:
    """The message that a header and its segments make up. Raises PeerError on anything odd.

    The data segment must not change afterwards, as the message may keep views of it. Segments that a message has no
    use for, and bytes after the last field that is known, are left alone: they are of versions to come.
    """
    cls = _CLASSES.get(header.type)
    if cls is None:
        raise PeerError(f"message type {header.type:#x} is not known")
    if not header.version:
        # Linux's client leaves it so in messages of which there has only been one version
        header = header._replace(version=1)
    if header.compat_version > cls.HEAD_VERSION:
        raise PeerError(
            f"{cls.__name__} version {header.version} needs a reader of version {header.compat_version}; "
            f"{cls.HEAD_VERSION} is known"
        )
    if header.version < cls.OLDEST_VERSION:
        raise PeerError(f"{cls.__name__} version {header.version} is too old; {cls.OLDEST_VERSION} and newer are read")
    try:
        return cls.from_parts(header, front, data)
    except PeerError as error:
        raise PeerError(f"{cls.__name__} version {header.version}: {error}") from None
