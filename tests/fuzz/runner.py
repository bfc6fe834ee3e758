"""Runs a fuzz target under atheris, starting from its own examples."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def main(one_input: Callable[[bytes], None], seeds: Iterable[bytes] = ()) -> None:
    """Fuzz until a limit of the command line is reached (`-max_total_time=60`, `-runs=100000`, ...).

    `seeds` are inputs from which libFuzzer goes on; a corpus directory may be given on the command line besides.
    """
    import atheris  # type: ignore[import-untyped,unused-ignore]

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / f"seed-{number}").write_bytes(seed)
        # what the target uses is loaded by now: instrument all of it
        atheris.instrument_all()
        # libFuzzer ends the process itself; its first directory is where it writes, so ours comes last
        atheris.Setup([*sys.argv, corpus], one_input)
        atheris.Fuzz()
