"""Writes messages of a real cluster into `tests/golden/messages`, for the tests that need no cluster.

    with GoldenRecorder() as recorder:
        recorder.record(header, front, middle, data, "from server")

A message is kept if its content is new and there are not yet enough of its kind: of its type, its version and, for
requests to OSDs and their answers, its operations (for backoffs, the step). Messages of log-in are never kept. What is
kept goes into a public repository: record only a cluster made for the purpose, on a host with a name that says nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cove.wire.encoding import Buffer
from cove.wire.errors import PeerError
from cove.wire.message_codec import MessageHeader, decode_message
from cove.wire.messages import MESSAGES, MAuth, MAuthReply, MOSDBackoff, MOSDOp, MOSDOpReply

MESSAGES_DIR = Path(__file__).resolve().parent / "messages"
INDEX = "index.json"
PER_KIND = 2
PER_TYPE = 60
BYTES_MAX = 64 * 1024
SECRET_TYPES = frozenset((MAuth.TYPE, MAuthReply.TYPE))
DIRECTIONS = ("to server", "from server")
_NAMES = {cls.TYPE: cls.__name__ for cls in MESSAGES}


class GoldenRecorder:
    """The store of one directory; `index.json` is read at the beginning and written by `save`."""

    def __init__(self, directory: Path = MESSAGES_DIR, per_kind: int = PER_KIND, per_type: int = PER_TYPE) -> None:
        self.directory = directory
        self.per_kind, self.per_type = per_kind, per_type
        self.entries: list[dict[str, Any]] = load_index(directory)
        self._digests = {entry["digest"] for entry in self.entries}
        self._kinds = Counter(entry["kind"] for entry in self.entries)
        self._types = Counter(entry["type"] for entry in self.entries)

    def record(self, header: MessageHeader, front: Buffer, middle: Buffer, data: Buffer, direction: str) -> Path | None:
        """Keep a message, if there is room for its kind. Returns the file with the front, or None."""
        assert direction in DIRECTIONS
        front, middle, data = bytes(front), bytes(middle), bytes(data)
        if header.type in SECRET_TYPES or len(middle) or len(front) + len(data) > BYTES_MAX:
            return None
        name = _NAMES.get(header.type, f"type-{header.type}")
        kind = _kind(name, header, front, data)
        digest = hashlib.sha256(repr((header.type, header.version, front, data)).encode()).hexdigest()
        if digest in self._digests or self._kinds[kind] >= self.per_kind or self._types[name] >= self.per_type:
            return None
        stem = f"{name}-{self._types[name] + 1:02}"
        entry = {
            "file": f"{stem}.bin",
            "data_file": f"{stem}.data.bin" if data else None,
            "type": name,
            "kind": kind,
            "direction": direction,
            "digest": digest,
            "header": header._asdict(),
        }
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"{stem}.bin"
        path.write_bytes(front)
        if data:
            (self.directory / f"{stem}.data.bin").write_bytes(data)
        self.entries.append(entry)
        self._digests.add(digest)
        self._kinds[kind] += 1
        self._types[name] += 1
        return path

    def save(self) -> None:
        """Write the index."""
        if self.entries:
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / INDEX).write_text(json.dumps(self.entries, indent=1) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self.save()


def _kind(name: str, header: MessageHeader, front: bytes, data: bytes) -> str:
    """What makes a message unlike others of its type. One that can't be decoded is the most welcome of all."""
    kind = f"{name} {header.version}"
    try:
        message = decode_message(header, front, b"", data)
    except PeerError:
        return kind + " undecodable"
    if isinstance(message, MOSDOp):
        return f"{kind} {' '.join(op.name for op in message.ops)}"
    if isinstance(message, MOSDBackoff):
        return f"{kind} {message.op}"
    if isinstance(message, MOSDOpReply):
        return f"{kind} {' '.join(op.name for op in message.ops)} {message.result}"
    return kind


def load_index(directory: Path = MESSAGES_DIR) -> list[dict[str, Any]]:
    """The entries of a store; none if there is no store."""
    path = directory / INDEX
    return list(json.loads(path.read_text())) if path.is_file() else []


def load(entry: dict[str, Any], directory: Path = MESSAGES_DIR) -> tuple[MessageHeader, bytes, bytes]:
    """Header, front and data of an entry."""
    data = (directory / entry["data_file"]).read_bytes() if entry["data_file"] else b""
    return MessageHeader(**entry["header"]), (directory / entry["file"]).read_bytes(), data
