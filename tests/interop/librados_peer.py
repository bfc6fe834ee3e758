"""What librados does: run by Debian's own Python, which has the `rados` module. A line of JSON asks, one answers.

Requests are `{"do": NAME, ...}`; an answer is `{"value": ...}` or `{"error": NEGATIVE ERRNO, "text": ...}`. Bytes are
`{"hex": "..."}` both ways. `peer.py` is the other end.
"""

import importlib
import json
import sys
import time
import traceback
from typing import Any


class Peer:
    """A client of librados, with an io context for each (pool, namespace, locator) that is asked for."""

    def __init__(self, conf: str, name: str, options: dict[str, str]) -> None:
        self.rados = importlib.import_module("rados")
        self.cluster = self.rados.Rados(conffile=conf, name=name, conf=options)
        self.cluster.connect(timeout=20)
        self.contexts: dict[tuple[str, str, str], Any] = {}
        self._c: Any = None
        self.watches: dict[int, Any] = {}
        self.told: dict[int, list[Any]] = {}

    def c(self, function: str, *args: Any) -> Any:
        """A method of `librados_c.CApi`: what this module does not offer."""
        if self._c is None:
            self._c = importlib.import_module("librados_c").CApi(*sys.argv[1:3], json.loads(sys.argv[3]))
        return getattr(self._c, function)(*args)

    def ioctx(self, pool: str, nspace: str = "", locator: str = "") -> Any:
        key = (pool, nspace, locator)
        if key not in self.contexts:
            found = self.contexts[key] = self.cluster.open_ioctx(pool)
            found.set_namespace(nspace)
            found.set_locator_key(locator)
        return self.contexts[key]

    def command(self, target: Any, cmd: dict[str, Any], indata: bytes = b"", timeout: int = 30) -> Any:
        """`target`: "mon", "mgr" or an OSD's number."""
        text = json.dumps(cmd)
        if target == "mon":
            code, out, status = self.cluster.mon_command(text, indata, timeout)
        elif target == "mgr":
            code, out, status = self.cluster.mgr_command(text, indata, timeout)
        else:
            code, out, status = self.cluster.osd_command(target, text, indata, timeout)
        return {"code": code, "out": out, "status": status}

    # the cluster

    def fsid(self) -> Any:
        return self.cluster.get_fsid()

    def cluster_stat(self) -> Any:
        return self.cluster.get_cluster_stats()

    def cluster_call(self, method: str, *args: Any) -> Any:
        """Any method of the client by name."""
        return getattr(self.cluster, method)(*args)

    def pg_command(self, pgid: str, cmd: dict[str, Any]) -> Any:
        return list(self.cluster.pg_command(pgid, json.dumps(cmd), b"", 30))

    def mon_command_target(self, name: str, cmd: dict[str, Any]) -> Any:
        return list(self.cluster.mon_command(json.dumps(cmd), b"", 30, name))

    def monitor_log(self, level: str) -> None:
        """Keep the lines of the cluster's log, for `log_lines`."""
        self.lines: list[dict[str, Any]] = []
        names = ("line", "who", "sec", "nsec", "seq", "level", "msg")

        def told(_: Any, *values: Any) -> None:
            self.lines.append(
                {k: v.decode() if isinstance(v, bytes) else v for k, v in zip(names, values, strict=False)}
            )

        self.log_watch = self.rados.MonitorLog(self.cluster, level, told, 0)

    def log_lines(self) -> Any:
        return self.lines

    def pools(self) -> Any:
        self.cluster.wait_for_latest_osdmap()
        return self.cluster.list_pools()

    def osd_map(self, objects: list[list[str]]) -> Any:
        """`osd map` of each [pool, object, namespace]."""
        found = []
        for pool, oid, nspace in objects:
            command = {"prefix": "osd map", "pool": pool, "object": oid, "format": "json"}
            code, out, status = self.cluster.mon_command(
                json.dumps(command | ({"nspace": nspace} if nspace else {})), b"", 30
            )
            if code:
                raise RuntimeError(f"{command}: {code} {status}")
            found.append(json.loads(out))
        return found

    # objects; `at` is [pool, namespace, locator]

    def call(self, at: list[str], method: str, *args: Any) -> Any:
        """Any method of an io context by name: read, write, stat, get_xattr, …"""
        answer = getattr(self.ioctx(*at), method)(*args)
        if method == "stat":
            return [answer[0]]
        return answer

    def xattrs(self, at: list[str], oid: str) -> Any:
        return dict(self.ioctx(*at).get_xattrs(oid))

    def snaps(self, at: list[str]) -> Any:
        """[id, name, seconds since the epoch] of the pool's snapshots."""
        self.cluster.wait_for_latest_osdmap()
        found = self.ioctx(*at).list_snaps()
        return [[snap.snap_id, snap.name, snap.get_timestamp().timestamp()] for snap in found]

    def listing(self, at: list[str]) -> Any:
        """[name, namespace, locator] of each object; namespace "*" is all."""
        io = self.cluster.open_ioctx(at[0])
        io.set_namespace(self.rados.LIBRADOS_ALL_NSPACES if at[1] == "*" else at[1])
        found = [[entry.key, entry.nspace, entry.locator_key or ""] for entry in io.list_objects()]
        io.close()
        return found

    def write_op(self, at: list[str], oid: str, steps: list[list[Any]]) -> None:
        """A compound operation: steps are [method of WriteOp, arguments…]; omap ones are methods of the io context."""
        io = self.ioctx(*at)
        with self.rados.WriteOpCtx() as op:
            for method, *args in steps:
                if hasattr(op, method):
                    getattr(op, method)(*args)
                else:
                    getattr(io, method)(op, *args)
            io.operate_write_op(op, oid)

    def omap(self, at: list[str], oid: str, start_after: str = "", prefix: str = "", count: int = 1000000) -> Any:
        """Keys and values, as pairs, page by page."""
        io = self.ioctx(*at)
        all_of_them: list[Any] = []
        while True:
            with self.rados.ReadOpCtx() as op:
                found, _ = io.get_omap_vals(op, start_after, prefix, count)
                io.operate_read_op(op, oid)
                page = [[key, value or b""] for key, value in found]
            all_of_them += page
            if not page:
                return all_of_them
            start_after = page[-1][0]

    # watch and notify

    def watch(self, at: list[str], oid: str, timeout: int = 0) -> int:
        """Watch an object; its callback notes what it is told, and librados answers."""
        told: list[Any] = []

        def notified(notify_id: int, notifier: int, cookie: int, data: bytes) -> None:
            told.append(["notify", notifier, data])

        def failed(*error: Any) -> None:  # how many arguments it has differs between releases
            told.append(["error", str(error)])

        found = self.ioctx(*at).watch(oid, notified, failed, timeout or None)
        cookie = int(found.get_id())
        self.watches[cookie], self.told[cookie] = found, told
        return cookie

    def watch_told(self, cookie: int, count: int, timeout: float = 20.0) -> Any:
        """What a watch was told, once there is so much of it, or the time is over."""
        deadline = time.monotonic() + timeout
        while len(self.told[cookie]) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return list(self.told[cookie])

    def unwatch(self, cookie: int) -> None:
        self.watches.pop(cookie).close()


def plain(value: Any) -> Any:
    """A value that JSON can carry."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def rich(value: Any) -> Any:
    """The reverse of `plain`."""
    if isinstance(value, dict):
        return (
            bytes.fromhex(value["hex"]) if set(value) == {"hex"} else {key: rich(item) for key, item in value.items()}
        )
    return [rich(item) for item in value] if isinstance(value, list) else value


def main() -> None:
    conf, name, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    peer = None
    for line in sys.stdin:
        try:
            if peer is None:
                peer = Peer(conf, name, options)
            request = rich(json.loads(line))
            answer: dict[str, Any] = {"value": plain(getattr(peer, request["do"])(*request["args"]))}
        except Exception as problem:
            number = getattr(problem, "errno", None)
            if number is None:
                traceback.print_exc()
            answer = {"error": -abs(number or 0), "text": f"{type(problem).__name__}: {problem}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
