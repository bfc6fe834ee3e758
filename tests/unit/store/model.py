# mypy: allow-untyped-calls
"""A model of a pool in plain Python: what vectors of operations do, in the simplest words.

An operation is a tuple: a name and its arguments; a trailing "failok" lets it fail. `run` returns the result and each
operation's (code, output), and changes the pool only if the vector succeeds.
"""

from __future__ import annotations

import errno
from copy import deepcopy
from dataclasses import dataclass, field


@dataclass
class Object:
    data: bytes = b""
    xattrs: dict[str, bytes] = field(default_factory=dict)
    omap: dict[bytes, bytes] = field(default_factory=dict)
    header: bytes = b""


class Failed(Exception):
    def __init__(self, code: int) -> None:
        self.code = -code


class Model:
    """Objects by name."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}

    def run(self, name: str, vector: list[tuple]) -> tuple[int, list[tuple[int, object]]]:
        stored = self.objects.get(name)
        outcomes: list[tuple[int, object]] = [(0, None)] * len(vector)
        if stored is None and all(op[0] in READS for op in vector):
            return -errno.ENOENT, outcomes
        now = deepcopy(stored)
        for at, op in enumerate(vector):
            failok = op[-1] == "failok"
            attempt = deepcopy(now)
            try:
                attempt, output = step(stored, attempt, op[:-1] if failok else op)
            except Failed as failed:
                outcomes[at] = (failed.code, None)
                if failok:
                    continue
                return failed.code, outcomes
            now = attempt
            outcomes[at] = (0, output)
        if now is None:
            self.objects.pop(name, None)
        else:
            self.objects[name] = now
        return 0, outcomes


READS = {"read", "stat", "getxattr", "omap_vals", "cmpext"}


def step(stored: Object | None, now: Object | None, op: tuple) -> tuple[Object | None, object]:
    """One operation: reads see `stored`, all but existence and size; changes go to `now`."""
    name, *args = op
    if name == "create":
        if args[0] and now is not None:
            raise Failed(errno.EEXIST)
        return now or Object(), None
    if name == "write":
        now = now or Object()
        offset, data = args
        grown = now.data.ljust(offset + len(data), b"\0")
        now.data = grown[:offset] + data + grown[offset + len(data) :]
        return now, None
    if name == "writefull":
        now = now or Object()
        now.data = args[0]
        return now, None
    if name == "append":
        now = now or Object()
        now.data += args[0]
        return now, None
    if name == "setxattr":
        now = now or Object()
        now.xattrs[args[0]] = args[1]
        return now, None
    if name == "omap_set":
        now = now or Object()
        now.omap.update(args[0])
        return now, None
    if name == "omap_header":
        now = now or Object()
        now.header = args[0]
        return now, None
    if name == "truncate":
        if now is not None:
            now.data = now.data[: args[0]].ljust(args[0], b"\0")
        return now, None
    if name == "zero":
        offset, length = args
        if now is not None and length and offset < len(now.data):
            if offset + length >= len(now.data):
                now.data = now.data[:offset]
            else:
                now.data = now.data[:offset] + bytes(length) + now.data[offset + length :]
        return now, None
    if name == "cmpext":
        offset, data = args
        have = (stored.data[: len(now.data) if now else 0][offset:] if stored else b"").ljust(len(data), b"\0")
        for at, byte in enumerate(data):
            if have[at] != byte:
                raise Failed(4095 + at)
        return now, None
    # all others need the object
    if now is None:
        raise Failed(errno.ENOENT)
    if name == "delete":
        return None, None
    if name == "rmxattr":
        now.xattrs.pop(args[0], None)
        return now, None
    if name == "omap_rm":
        for key in args[0]:
            now.omap.pop(key, None)
        return now, None
    if name == "omap_rm_range":
        now.omap = {key: value for key, value in now.omap.items() if not args[0] <= key < args[1]}
        return now, None
    if name == "omap_clear":
        now.omap, now.header = {}, b""
        return now, None
    if name == "stat":
        return now, len(now.data)
    if name == "read" and args[0] >= len(now.data):
        return now, b""
    if stored is None:
        raise Failed(errno.ENOENT)
    if name == "read":
        offset, length = args
        end = min(offset + length, len(now.data)) if length else len(now.data)
        return now, stored.data[offset:end]
    if name == "getxattr":
        if args[0] not in stored.xattrs:
            raise Failed(errno.ENODATA)
        return now, stored.xattrs[args[0]]
    assert name == "omap_vals", name
    return now, {key: stored.omap[key] for key in sorted(stored.omap)}
