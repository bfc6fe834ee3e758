"""The examples of docs/rados.md run, in their order; and its table has every call of the librados that is installed.

A block is either a whole program, which runs in a process of its own, or a piece that shares its names with the other
pieces and may `await`, as at the prompt of `python -m asyncio`.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cove.rados import Error

from .ceph_cluster import CephCluster
from .peer import DEBIAN_PYTHON

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "rados.md"
TEXT = DOCUMENT.read_text()
PROGRAM_TIMEOUT_S = 60
POOLS = ("archive", "images")
"""What the examples create."""


def blocks() -> list[tuple[int, str]]:
    """Line number and text of each Python block."""
    found = re.finditer(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return [(TEXT.count("\n", 0, match.start()) + 1, match[1]) for match in found]


def is_program(block: str) -> bool:
    return "asyncio.run(" in block or "import sync" in block


PROGRAMS = [pytest.param(text, id=f"line {line}") for line, text in blocks() if is_program(text)]
PIECES = [(line, text) for line, text in blocks() if not is_program(text)]


def test_there_are_both_kinds() -> None:
    assert len(PROGRAMS) >= 2
    assert len(PIECES) > 10


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(one_osd: CephCluster, program: str) -> None:
    environment = os.environ | {"CEPH_CONF": str(one_osd.conf_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=PROGRAM_TIMEOUT_S,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "b'hello'" in done.stdout
    assert len(done.stdout.splitlines()) == 2, done.stdout


async def test_pieces(one_osd: CephCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEPH_CONF", str(one_osd.conf_path))
    names: dict[str, Any] = {"asyncio": asyncio, "__name__": "__main__"}
    try:
        for line, text in PIECES:
            source = "\n" * line + text  # so that a traceback names the document's lines
            code = compile(source, str(DOCUMENT), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            outcome = eval(code, names)  # noqa: S307
            if inspect.iscoroutine(outcome):
                await outcome
    finally:
        cluster = names.get("cluster")
        if cluster is not None:
            for pool in POOLS:
                with contextlib.suppress(Error):
                    await cluster.pool_delete(pool)
            await cluster.shutdown()


LIBRARY = Path("/usr/lib/x86_64-linux-gnu/librados.so.2")


def table() -> str:
    return TEXT[TEXT.index("## Every librados call") :]


@pytest.mark.skipif(not LIBRARY.exists(), reason="librados is not installed")
def test_every_call_of_c_is_in_the_table() -> None:
    names = {name.decode() for name in re.findall(rb"(?<=\0)rados_[a-z0-9_]+(?=\0)", LIBRARY.read_bytes())}
    assert len(names) > 200
    options = {"rados_osd_op_timeout", "rados_mon_op_timeout"}  # the names of options are in the library, too
    assert sorted(name for name in names - options if f"`{name}`" not in table()) == []


def test_every_call_of_python_is_in_the_table(ceph_is_installed: None) -> None:
    script = (
        "import json, rados\n"
        "print(json.dumps({c: [n for n in dir(getattr(rados, c)) if n[0] != '_' and callable(getattr(getattr(rados, c),"
        " n))] for c in ('Rados', 'Ioctx', 'WriteOp', 'ReadOp', 'Completion', 'Watch')}))"
    )
    shown = subprocess.run([DEBIAN_PYTHON, "-c", script], capture_output=True, timeout=60, check=True).stdout
    internal = {"require_state", "require_ioctx_open", "create", "release", "lock", "monitor_callback"}
    missing = [
        f"{cls}.{name}"
        for cls, names in json.loads(shown).items()
        for name in names
        if name not in internal and f"`{cls}.{name}`" not in table()
    ]
    assert missing == []
