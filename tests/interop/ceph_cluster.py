"""A real Ceph cluster for tests and benchmarks: one monitor, one manager, some OSDs, as children of this process.

    with CephCluster(osds=3) as cluster:
        cluster.conf_path        # for clients
        cluster.ceph("osd", "tree")
        cluster.osds[1].kill()

Everything is in one directory below /var/tmp and on one loopback address of its own, so that several clusters can run
side by side. The daemons run in the foreground as whoever runs this (root is not needed); the kernel ends them when
this process dies, whatever way. Every wait has a time-out.

Source: Ceph's doc/install/manual-deployment; its vstart.sh (which options make a small cluster quick).
"""

from __future__ import annotations

import base64
import functools
import json
import os
import random
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from .peer import DEBIAN_PYTHON, Librados, LibradosError

T = TypeVar("T")

MON_PORT = 3300
TOOL_TIMEOUT_S = 60.0
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0
GIB = 1 << 30

PROGRAMS = ("ceph-mon", "ceph-osd", "ceph-mgr", "ceph", "ceph-authtool", "rados", "monmaptool", "osdmaptool", "setpriv")


class ClusterError(Exception):
    """A daemon or a tool did not do what it should; the text holds what it said."""


def missing() -> str | None:
    """What of Ceph is not installed here, in words; None if all is there."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (scripts/packages-interop)"
    probe = subprocess.run([DEBIAN_PYTHON, "-c", "import rados"], capture_output=True, timeout=60, check=False)
    return "python3-rados is not installed (scripts/packages-interop)" if probe.returncode else None


class Release(NamedTuple):
    """A release of Ceph: 16, pacific."""

    number: int
    name: str


@functools.cache
def installed_release() -> Release:
    """The one that clusters are made of: "ceph version 16.2.15 (commit) pacific (stable)"."""
    shown = subprocess.run(["ceph-mon", "--version"], capture_output=True, timeout=60, check=True).stdout.decode()
    return Release(int(shown.split()[2].partition(".")[0]), shown.partition(")")[2].split()[0])


KEY_TYPES = {"aes": (1, 16), "aes256k": (2, 32)}
"""Number and length of cephx keys; aes256k is there from 20.2 on."""


@functools.cache
def preferred_key_type() -> str:
    """The type of the keys that the installed release makes."""
    shown = subprocess.run(["ceph-authtool", "--gen-print-key"], capture_output=True, timeout=60, check=True).stdout
    number = base64.b64decode(shown)[0]
    return next(name for name, (kind, _) in KEY_TYPES.items() if kind == number)


def new_key(key_type: str | None = None) -> str:
    """A random cephx key as keyrings hold it; without a type, of the one that the installed release prefers."""
    kind, length = KEY_TYPES[key_type or preferred_key_type()]
    return base64.b64encode(
        struct.pack("<HIIH", kind, int(time.time()), 0, length) + secrets.token_bytes(length)
    ).decode()


def keyring(entity: str, key: str, caps: Mapping[str, str] | None = None) -> str:
    """One entity's section of a keyring file."""
    return f"[{entity}]\n\tkey = {key}\n" + "".join(f'\tcaps {who} = "{cap}"\n' for who, cap in (caps or {}).items())


def eventually(probe: Callable[[], T], what: str, timeout_s: float = START_TIMEOUT_S) -> T:
    """Ask until the answer is true. Raises ClusterError."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise ClusterError(f"not within {timeout_s} s: {what}")
        time.sleep(0.03)


def _free_address() -> str:
    """An address of 127.0.0.0/8 on which nobody listens at the monitor's port."""
    for _ in range(50):
        address = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        with socket.socket() as probe:
            try:
                probe.bind((address, MON_PORT))
            except OSError:
                continue
            return address
    raise ClusterError(f"found no loopback address with port {MON_PORT} free")


class Daemon:
    """One ceph-mon, ceph-mgr or ceph-osd, as a child process."""

    def __init__(self, cluster: CephCluster, kind: str, who: str) -> None:
        self.name = f"{kind}.{who}"
        self._command = [f"ceph-{kind}", "-f", "-i", who, "-c", str(cluster.daemon_conf_path)]
        self._output = cluster.directory / "log" / f"{self.name}.out"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process, None while it does not run."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it; whether it is ready is for the cluster to ask."""
        assert self._process is None, f"{self.name} runs already"
        # the signal of the parent's death is the thread's: started from another one, it would come when that ends
        assert threading.current_thread() is threading.main_thread()
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_clean_environment(),
                cwd="/",  # Debian's packages from 18 on name the directory of object classes relative to it
                start_new_session=True,  # a Ctrl-C is for us to pass on
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, e.g. SIGSTOP to make it a black hole."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would, and wait until it is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(STOP_TIMEOUT_S)

    def check(self) -> None:
        """Raises ClusterError if it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            tail = "\n".join(self._output.read_text(errors="replace").splitlines()[-15:])
            raise ClusterError(f"{self.name} has ended with {self._process.returncode}:\n{tail}")


class CephCluster:
    """A cluster; `with` or `start` and `stop`. Attributes: conf_path, address, fsid, directory, mon, mgr, osds."""

    def __init__(
        self,
        *,
        osds: int = 1,
        store: str = "memstore",
        auth: str = "cephx",
        msgr1: bool = False,
        options: Mapping[str, str] | None = None,
        pools: Sequence[str] = ("rbd",),
        pg_num: int = 8,
        store_bytes: int = 4 * GIB,
        ciphers: tuple[str, str] | None = None,
    ) -> None:
        """`auth`: "cephx" or "none"; `options` go into the daemons' and the clients' [global]. `ciphers` (20.2 on):
        the types of the users' and of the services' keys, where all types are allowed, as after an upgrade."""
        self.directory = Path(tempfile.mkdtemp(prefix="cove-ceph-", dir="/var/tmp"))
        self.conf_path = self.directory / "ceph.conf"
        self.daemon_conf_path = self.directory / "daemons.conf"
        self.address = _free_address()
        self.fsid = str(uuid.uuid4())
        self.auth = auth
        self.started_s = 0.0
        self._n_osds = osds
        self._pools = tuple(pools)
        self._pg_num = pg_num
        self._ciphers = ciphers
        self._keys = {name: new_key(ciphers and ciphers[0]) for name in ("mon.", "client.admin", "mgr.x")}
        self._osd_uuids = [str(uuid.uuid4()) for _ in range(osds)]
        self._peers: dict[tuple[Path, str], Librados] = {}
        mon = f"v2:{self.address}:{MON_PORT}/0"
        self.mon_host = f"[{mon},v1:{self.address}:6789/0]" if msgr1 else f"[{mon}]"
        self._write_conf(store, store_bytes, msgr1, options or {})
        self.mon = Daemon(self, "mon", "a")
        self.mgr = Daemon(self, "mgr", "x")
        self.osds = [Daemon(self, "osd", str(number)) for number in range(osds)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # configuration

    def _write_conf(self, store: str, store_bytes: int, msgr1: bool, options: Mapping[str, str]) -> None:
        here = self.directory
        for name in ("log", "mon", "mgr/x", "run", *(f"osd/{number}" for number in range(self._n_osds))):
            (here / name).mkdir(parents=True)
        client = {
            "fsid": self.fsid,
            "mon_host": self.mon_host,
            "keyring": here / "$name.keyring",
            "auth_client_required": self.auth,
            "auth_cluster_required": self.auth,
            "auth_service_required": self.auth,
            "log_to_stderr": "false",
            "admin_socket": "",
            **options,
        }
        self.conf_path.write_text(_section("global", client))
        replicas = min(self._n_osds, 3)
        daemons = client | {
            "public_addr": self.address,
            "cluster_addr": self.address,
            "ms_bind_msgr1": str(msgr1).lower(),
            "ms_bind_ipv6": "false",
            "auth_allow_insecure_global_id_reclaim": "false",
            "run_dir": here / "run",
            "admin_socket": here / "run" / "$name.asok",  # without one, daemons do not answer `ceph tell`
            "log_file": here / "log" / "$name.log",
            "crash_dir": here / "run",
            "osd_pool_default_size": replicas,
            "osd_pool_default_min_size": 1,
            "osd_pool_default_pg_autoscale_mode": "off",
            "osd_crush_chooseleaf_type": 0,
            "mon_max_pg_per_osd": 5000,
            "osd_max_pg_per_osd_hard_ratio": 10,
            "ms_async_op_threads": 2,
        }
        mon = {
            "mon_data": here / "mon" / "$id",
            "mon_allow_pool_size_one": "true",
            "mon_allow_pool_delete": "true",
            "mon_cluster_log_to_file": "false",
            "mon_data_avail_warn": 2,
            "mon_data_avail_crit": 1,
            "mon_osd_down_out_interval": 3600,
            "mon_tick_interval": 1,
            "paxos_propose_interval": 0.02,
            "paxos_min_wait": 0.01,
        }
        mgr = {
            "mgr_data": here / "mgr" / "$id",
            "keyring": here / "mgr" / "$id" / "keyring",
            "mgr_initial_modules": "",
            "mgr_stats_period": 1,
            "mgr_tick_period": 1,
        }
        osd = {
            "osd_data": here / "osd" / "$id",
            "keyring": here / "osd" / "$id" / "keyring",
            "osd_objectstore": store,
            "memstore_device_bytes": store_bytes,
            "bluestore_block_create": "true",
            "bluestore_block_size": store_bytes,
            "bluestore_cache_autotune": "false",
            "bluestore_cache_size": 64 << 20,
            "osd_op_num_shards": 2,
            "osd_op_num_threads_per_shard": 1,
            "osd_class_load_list": "*",
            "osd_class_default_list": "*",
        }
        parts = [("global", daemons), ("mon", mon), ("mgr", mgr), ("osd", osd)]
        self.daemon_conf_path.write_text("\n".join(_section(name, values) for name, values in parts))
        admin = dict.fromkeys(("mon", "osd", "mgr", "mds"), "allow *")
        entities = [("client.admin", admin), ("mgr.x", {"mon": "allow profile mgr", "osd": "allow *"})]
        text = keyring("mon.", self._keys["mon."], {"mon": "allow *"})
        text += "".join(keyring(name, self._keys[name], caps) for name, caps in entities)
        self._write_secret("mon.keyring", text)
        self._write_secret("client.admin.keyring", keyring("client.admin", self._keys["client.admin"]))
        self._write_secret("mgr/x/keyring", keyring("mgr.x", self._keys["mgr.x"]))

    def _write_secret(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.touch(0o600)
        path.write_text(text)
        return path

    def client_conf(self, name: str, **options: str) -> Path:
        """Another ceph.conf for clients, with options added to (or put in place of) those of [global]."""
        kept = [line for line in self.conf_path.read_text().splitlines() if line.split(" = ")[0] not in options]
        path = self.directory / f"{name}.conf"
        path.write_text("\n".join(kept) + "\n" + "".join(f"{key} = {value}\n" for key, value in options.items()))
        return path

    def add_user(self, name: str, caps: Mapping[str, str]) -> Path:
        """Make a client (`client.NAME`) with capabilities such as {"mon": "allow r"}; its keyring's path."""
        flat = [part for item in caps.items() for part in item]
        answer = self.peer().mon("auth get-or-create", entity=name, caps=flat)
        return self._write_secret(f"{name}.keyring", keyring(name, answer[0]["key"]))

    # life

    def start(self) -> None:
        """Make and start everything, until the OSDs are up and the pools exist. Takes it down again if it fails."""
        began = time.monotonic()
        try:
            self._start()
        except BaseException:
            self.stop(keep_logs=True)
            raise
        self.started_s = time.monotonic() - began

    def _start(self) -> None:
        monmap, conf = str(self.directory / "monmap"), str(self.daemon_conf_path)
        addresses = self.mon_host
        make = ["monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", addresses, "--enable-all-features"]
        if self._ciphers is not None:
            users, services = self._ciphers
            make += ["--auth-allowed-ciphers", ",".join(KEY_TYPES)]
            make += ["--auth-preferred-cipher", users, "--auth-service-cipher", services]
        self.run(*make, "--set-min-mon-release", installed_release().name, monmap)
        mon_keyring = str(self.directory / "mon.keyring")
        self.run("ceph-mon", "--mkfs", "-i", "a", "-c", conf, "--monmap", monmap, "--keyring", mon_keyring)
        self.mon.start()
        makers = [self._mkfs(number, monmap) for number in range(self._n_osds)]
        try:
            admin = self.peer()
            admin.mon("config set", who="mgr", name="mgr/devicehealth/enable_monitoring", value="false", force=True)
            for number, osd_uuid in enumerate(self._osd_uuids):
                caps = {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"}
                flat = [part for item in caps.items() for part in item]
                admin.mon("osd new", uuid=osd_uuid, id=number)
                answer = admin.mon("auth get-or-create", entity=f"osd.{number}", caps=flat)
                self._write_secret(f"osd/{number}/keyring", keyring(f"osd.{number}", answer[0]["key"]))
            self.mgr.start()
            for pool in self._pools:
                self.create_pool(pool)
            for maker in makers:
                if maker.wait(TOOL_TIMEOUT_S):
                    raise ClusterError(f"{maker.args!r} has ended with {maker.returncode}")
        finally:
            for maker in makers:
                if maker.poll() is None:
                    maker.kill()
                    maker.wait()
        for osd in self.osds:
            osd.start()
        self.wait_up()

    def _mkfs(self, number: int, monmap: str) -> subprocess.Popen[bytes]:
        with (self.directory / "log" / f"mkfs.{number}.out").open("wb") as output:
            make = ["ceph-osd", "--mkfs", "-i", str(number), "-c", str(self.daemon_conf_path), "--monmap", monmap]
            return subprocess.Popen(
                [*make, "--osd-uuid", self._osd_uuids[number], "--no-mon-config"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_clean_environment(),
            )

    def stop(self, keep_logs: bool = False) -> None:
        """End the daemons and remove the directory; twice is no error."""
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()
        for daemon in (*self.osds, self.mgr, self.mon):
            daemon.kill()
        if keep_logs and os.environ.get("COVE_KEEP_CEPH_LOGS"):
            print(f"kept: {self.directory}")
            return
        shutil.rmtree(self.directory, ignore_errors=True)

    def check(self) -> None:
        """Raises ClusterError if a daemon has ended by itself."""
        for daemon in (self.mon, self.mgr, *self.osds):
            daemon.check()

    def wait_up(self, count: int | None = None, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until so many OSDs (all) are up."""
        wanted = len(self.osds) if count is None else count

        def up() -> bool:
            self.check()
            return bool(self.peer().mon("osd stat")["num_up_osds"] == wanted)

        eventually(up, f"{wanted} OSDs up", timeout_s)

    def wait_clean(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the manager reports every PG as active and clean."""

        def clean() -> bool:
            self.check()
            pgs = self.peer().mon("pg stat")["pg_summary"]
            return all("active+clean" in state["name"] for state in pgs["num_pg_by_state"]) and pgs["num_pgs"] > 0

        eventually(clean, "all PGs active+clean", timeout_s)

    # asking it

    def peer(self, name: str = "client.admin", conf: Path | None = None) -> Librados:
        """A client of librados, kept until `stop`."""
        key = (conf or self.conf_path, name)
        if key not in self._peers:
            self._peers[key] = Librados(*key)
        return self._peers[key]

    def create_pool(self, name: str, pg_num: int | None = None, **options: Any) -> int:
        """A pool (options: those of `osd pool create`); its number."""
        number = self._pg_num if pg_num is None else pg_num
        admin = self.peer()
        admin.mon("osd pool create", pool=name, pg_num=number, pgp_num=number, **options)
        admin.mon("osd pool application enable", pool=name, app="rbd")
        return int(next(pool["poolnum"] for pool in admin.mon("osd lspools") if pool["poolname"] == name))

    def run(self, *command: str | Path, stdin: bytes | None = None) -> str:
        """Run a program to its end; its standard output. Raises ClusterError."""
        return self.run_bytes(*command, stdin=stdin).decode()

    def run_bytes(self, *command: str | bytes | Path, stdin: bytes | None = None) -> bytes:
        """The same, for output that is not text."""
        words = [word if isinstance(word, bytes) else str(word) for word in command]
        result = subprocess.run(
            words,
            input=stdin or b"",
            capture_output=True,
            timeout=TOOL_TIMEOUT_S,
            env=_clean_environment(),
            check=False,
        )
        if result.returncode:
            text = (result.stdout + result.stderr).decode(errors="replace")
            raise ClusterError(f"{words} has ended with {result.returncode}:\n{text}")
        return result.stdout

    def ceph(self, *arguments: str) -> Any:
        """`ceph ARGUMENTS --format json`, decoded."""
        output = self.run("ceph", "-c", self.conf_path, "--connect-timeout", "20", *arguments, "--format", "json")
        return json.loads(output) if output.strip() else None

    def rados(self, *arguments: str | Path, stdin: bytes | None = None) -> bytes:
        """What `rados ARGUMENTS` prints."""
        return self.run_bytes("rados", "-c", self.conf_path, *arguments, stdin=stdin)


def _section(name: str, values: Mapping[str, Any]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())


def _clean_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in ("CEPH_CONF", "CEPH_ARGS", "CEPH_KEYRING")}


__all__ = ["CephCluster", "ClusterError", "Daemon", "LibradosError", "eventually", "missing"]
