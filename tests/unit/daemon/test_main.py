"""What the server's process sets for itself before anything else."""

from __future__ import annotations

import subprocess
import sys


def test_files_are_ours_and_there_are_no_core_files() -> None:
    """A core file would have every password and token that was in memory; so would one of a guest's process."""
    code = (
        "import os, resource, subprocess, sys; from cove.daemon.__main__ import keep_to_ourselves; keep_to_ourselves();"
        "ask = 'import resource; print(resource.getrlimit(resource.RLIMIT_CORE)[0])';"
        "print(oct(os.umask(0)), subprocess.run([sys.executable, '-c', ask], capture_output=True).stdout)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout == "0o77 b'0\\n'\n"


def test_hashing_passwords_does_not_keep_their_memory() -> None:
    """Each hash takes 19 MiB, in any of the threads."""
    code = """
import asyncio, re
from pathlib import Path
from cove.daemon.__main__ import give_memory_back
from cove.identity.passwords import Passwords

def anonymous_mib():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

async def main():
    passwords = Passwords()
    before = anonymous_mib()
    await asyncio.gather(*(passwords.hash(str(number)) for number in range(8)))
    print(anonymous_mib() - before)
    passwords.close()

give_memory_back()
asyncio.run(main())
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert float(answer.stdout) < 10
