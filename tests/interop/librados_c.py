"""librados' C functions, by ctypes: what python3-rados does not offer. Part of `librados_peer.py`, which imports it.

`SIGNATURES` says how the steps of a vector are called: s a C string, b bytes and their length, p bytes alone, Q u64,
I u32, B u8, i int, z size_t, O room for an answer, P a null pointer.

Source: Ceph's include/rados/librados.h.
"""

import ctypes
from typing import Any

SIGNATURES = {
    "write assert_exists": "",
    "write assert_version": "Q",
    "write cmpext": "bQP",
    "write cmpxattr": "sBb",
    "write omap_cmp2": "sBpzzP",
    "write setxattr": "sb",
    "write rmxattr": "s",
    "write create": "iP",
    "write write": "bQ",
    "write write_full": "b",
    "write writesame": "bzQ",
    "write append": "b",
    "write remove": "",
    "write truncate": "Q",
    "write zero": "QQ",
    "write exec": "ssbP",
    "write omap_rm_range2": "bb",
    "write omap_clear": "",
    "write set_alloc_hint2": "QQI",
    "write set_flags": "i",
    "read assert_exists": "",
    "read assert_version": "Q",
    "read cmpext": "bQP",
    "read cmpxattr": "sBb",
    "read omap_cmp2": "sBpzzP",
    "read getxattrs": "OP",
    "read stat": "OOP",
    "read read": "QQOOP",
    "read checksum": "ibQQzOzP",
    "read exec": "ssbOOP",
    "read omap_get_vals2": "ssQOOP",
    "read omap_get_keys2": "sQOOP",
    "read set_flags": "i",
}
ROOM = 1 << 16
PAGE = 1000


class CApi:
    """A client of its own, with an io context for each (pool, namespace, locator) that is asked for."""

    def __init__(self, conf: str, name: str, options: dict[str, str]) -> None:
        self.lib = ctypes.CDLL("librados.so.2")
        self.lib.rados_object_list_begin.restype = ctypes.c_void_p
        self.lib.rados_object_list_end.restype = ctypes.c_void_p
        self.lib.rados_create_write_op.restype = ctypes.c_void_p
        self.lib.rados_create_read_op.restype = ctypes.c_void_p
        self.cluster = ctypes.c_void_p()
        self.check(self.lib.rados_create2(ctypes.byref(self.cluster), b"ceph", name.encode(), ctypes.c_uint64(0)))
        self.check(self.lib.rados_conf_read_file(self.cluster, conf.encode()))
        for key, value in options.items():
            self.check(self.lib.rados_conf_set(self.cluster, key.encode(), value.encode()))
        self.check(self.lib.rados_connect(self.cluster))
        self.contexts: dict[tuple[str, ...], ctypes.c_void_p] = {}

    def check(self, result: int) -> int:
        if result < 0:
            raise OSError(-result, "librados")
        return result

    def ioctx(self, pool: str, nspace: str = "", locator: str = "") -> ctypes.c_void_p:
        key = (pool, nspace, locator)
        if key not in self.contexts:
            self.check(self.lib.rados_wait_for_latest_osdmap(self.cluster))
            found = self.contexts[key] = ctypes.c_void_p()
            self.check(self.lib.rados_ioctx_create(self.cluster, pool.encode(), ctypes.byref(found)))
            self.lib.rados_ioctx_set_namespace(found, nspace.encode())
            self.lib.rados_ioctx_locator_set_key(found, locator.encode() or None)
        return self.contexts[key]

    def operate(self, at: list[str], oid: str, kind: str, steps: list[list[Any]], flags: int = 0) -> int:
        """Run a vector; its result, whatever it is. `kind`: "read" or "write"."""
        io, lib = self.ioctx(*at), self.lib
        op = ctypes.c_void_p(getattr(lib, f"rados_create_{kind}_op")())
        kept: list[Any] = []
        for name, *values in steps:
            if name == "omap_set2" or name == "omap_rm_keys2":
                arguments = self._omap(name, values[0])
            else:
                arguments = self._arguments(SIGNATURES[f"{kind} {name}"], values)
            kept.append(arguments)
            getattr(lib, f"rados_{kind}_op_{name}")(op, *arguments)
        if kind == "write":
            result = lib.rados_write_op_operate(op, io, oid.encode(), None, flags)
        else:
            result = lib.rados_read_op_operate(op, io, oid.encode(), flags)
        getattr(lib, f"rados_release_{kind}_op")(op)
        return int(result)

    def _arguments(self, signature: str, values: list[Any]) -> list[Any]:
        found: list[Any] = []
        rest = iter(values)
        numbers = {"Q": ctypes.c_uint64, "I": ctypes.c_uint32, "B": ctypes.c_uint8, "i": ctypes.c_int}
        for kind in signature:
            if kind == "P":
                found.append(None)
            elif kind == "O":
                found.append(ctypes.create_string_buffer(ROOM))
            elif kind == "s":
                found.append(ctypes.c_char_p(next(rest).encode()))
            elif kind in "bp":
                data = next(rest)
                found.append(ctypes.create_string_buffer(data, max(len(data), 1)))
                found += [ctypes.c_size_t(len(data))] if kind == "b" else []
            elif kind == "z":
                found.append(ctypes.c_size_t(next(rest)))
            else:
                found.append(numbers[kind](next(rest)))
        return found

    def _omap(self, name: str, values: Any) -> list[Any]:
        """Arguments of omap_set2 (a dict) and omap_rm_keys2 (a list)."""
        keys = [key.encode() for key in values]
        count = len(keys)
        found: list[Any] = [(ctypes.c_char_p * count)(*keys)]
        if name == "omap_set2":
            found.append((ctypes.c_char_p * count)(*values.values()))
        found.append((ctypes.c_size_t * count)(*map(len, keys)))
        if name == "omap_set2":
            found.append((ctypes.c_size_t * count)(*map(len, values.values())))
        return [*found, ctypes.c_size_t(count)]

    def checksum(self, at: list[str], oid: str, kind: int, init: bytes, length: int, offset: int, chunk: int) -> bytes:
        """Output of rados_checksum: u32 count, then the sums."""
        room = ctypes.create_string_buffer(ROOM)
        numbers = [ctypes.c_size_t(length), ctypes.c_uint64(offset), ctypes.c_size_t(chunk)]
        result = self.lib.rados_checksum(
            self.ioctx(*at),
            oid.encode(),
            kind,
            init,
            ctypes.c_size_t(len(init)),
            *numbers,
            room,
            ctypes.c_size_t(ROOM),
        )
        self.check(result)
        count = int.from_bytes(room.raw[:4], "little")
        return room.raw[: 4 + count * len(init)]

    def slices(self, at: list[str], count: int) -> list[list[list[str]]]:
        """[name, namespace, locator] of the objects of each of `count` equal parts of a pool."""
        lib, io = self.lib, self.ioctx(*at)
        begin = ctypes.c_void_p(lib.rados_object_list_begin(io))
        end = ctypes.c_void_p(lib.rados_object_list_end(io))
        found = []
        for number in range(count):
            first, last = (
                ctypes.c_void_p(lib.rados_object_list_begin(io)),
                ctypes.c_void_p(lib.rados_object_list_begin(io)),
            )
            sizes = [ctypes.c_size_t(number), ctypes.c_size_t(count)]
            lib.rados_object_list_slice(io, begin, end, *sizes, ctypes.byref(first), ctypes.byref(last))
            found.append(self._part(io, first, last))
            lib.rados_object_list_cursor_free(io, first)
            lib.rados_object_list_cursor_free(io, last)
        return found

    def _part(self, io: ctypes.c_void_p, at: ctypes.c_void_p, last: ctypes.c_void_p) -> list[list[str]]:
        class Item(ctypes.Structure):
            _fields_ = [
                part
                for name in ("oid", "nspace", "locator")
                for part in ((f"{name}_length", ctypes.c_size_t), (name, ctypes.c_void_p))
            ]

        lib, found = self.lib, []
        lib.rados_object_list_cursor_cmp.argtypes = [ctypes.c_void_p] * 3
        while lib.rados_object_list_cursor_cmp(io, at, last) < 0:
            items = (Item * PAGE)()
            room = ctypes.c_size_t(PAGE)
            got = self.check(
                lib.rados_object_list(io, at, last, room, None, ctypes.c_size_t(0), items, ctypes.byref(at))
            )
            for item in items[:got]:
                texts = [ctypes.string_at(item.oid, item.oid_length)]
                texts += [ctypes.string_at(item.nspace, item.nspace_length)]
                texts += [ctypes.string_at(item.locator, item.locator_length) if item.locator else b""]
                found.append([text.decode() for text in texts])
        return found
