"""A cluster with three monitors, side by side on one address."""

from __future__ import annotations

from collections.abc import Mapping

from cove.rados import Rados

from .ceph_cluster import MON_PORT, CephCluster, Daemon, eventually

NAMES = "abc"


class ThreeMonitors(CephCluster):
    """Monitors a, b and c side by side on one address, from the start."""

    def __init__(self, *, osds: int = 1, store: str = "memstore", options: Mapping[str, str] | None = None) -> None:
        quick = {
            "mon_client_ping_interval": "1",
            "mon_client_ping_timeout": "3",
            "mon_lease": "1",
            "mon_election_timeout": "1",
        }
        super().__init__(osds=osds, store=store, options={**quick, **(options or {})})
        self.mons = {"a": self.mon, **{name: Daemon(self, "mon", name) for name in NAMES[1:]}}

    def _write_for_three(self) -> None:
        secret = (self.directory / "mon.keyring").read_text()
        for name in NAMES:  # without one they would not use cephx among themselves
            self._write_secret(f"mon.{name}.keyring", secret)
        hosts = ",".join(f"[{self.address_of(name)}]" for name in NAMES)
        for path in (self.conf_path, self.daemon_conf_path):
            path.write_text(path.read_text().replace(f"mon_host = {self.mon_host}", f"mon_host = {hosts}"))

    def address_of(self, name: str) -> str:
        """Where a monitor listens."""
        return f"v2:{self.address}:{MON_PORT + NAMES.index(name)}/0"

    def _start(self) -> None:
        self._write_for_three()
        super()._start()

    def run(self, *command: object, stdin: bytes | None = None) -> str:
        """The monitor map is made with all three, and each gets its store and is started with the first."""
        words = [str(word) for word in command]
        if words[0] == "monmaptool":
            at = words.index("--addv")
            more = [part for name in NAMES[1:] for part in ("--addv", name, f"[{self.address_of(name)}]")]
            return super().run(*words[:at], *more, *words[at:], stdin=stdin)
        output = super().run(*words, stdin=stdin)
        if words[:2] == ["ceph-mon", "--mkfs"]:
            for name in NAMES[1:]:
                super().run(*(name if word == "a" else word for word in words))
                self.mons[name].start()
        return output

    def stop(self, keep_logs: bool = False) -> None:
        for mon in self.mons.values():
            mon.kill()
        super().stop(keep_logs)

    def wait_quorum(self, count: int = 3) -> None:
        """Wait until so many monitors agree."""
        eventually(lambda: len(self.peer().mon("quorum_status")["quorum"]) == count, f"{count} monitors in quorum")


def ours(client: Rados, monitors: ThreeMonitors) -> str:
    """The monitor that the client has its session with."""
    connection = client.monclient.connection
    assert connection is not None
    return next(name for name in NAMES if monitors.address_of(name) == connection.peer_address)
