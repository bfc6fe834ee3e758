"""Runs programs that use the synchronous facade, each in a process of its own, with a time-out: what hangs, fails.

They see `rados`, a connected `cluster`, its `io`, an object `x` that holds b"hello", and `CONF`, the ceph.conf.
"""

from __future__ import annotations

import subprocess
import sys

from .ceph_cluster import CephCluster

TIMEOUT_S = 40.0

PRELUDE = """
import errno, gc, json, multiprocessing, os, signal, sys, threading, time
from cove.rados import sync as rados
CONF = sys.argv[1]
cluster = rados.Rados(conffile=CONF)
cluster.connect(timeout=10)
io = cluster.open_ioctx("rbd")
io.write_full("x", b"hello")

def mon(prefix, **more):
    code, out, status = cluster.mon_command(json.dumps({"prefix": prefix, **more}), b"")
    assert code == 0, status
    cluster.wait_for_latest_osdmap()

def until(probe, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while not probe():
        assert time.monotonic() < deadline
        time.sleep(0.01)
"""


def run_program(cluster: CephCluster, program: str, code: int = 0, timeout_s: float = TIMEOUT_S) -> list[str]:
    """The lines that a program prints. It must end by itself, with `code`, and say nothing on its error output."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PRELUDE + program, str(cluster.conf_path)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, ""), done.stdout
    return done.stdout.splitlines()
