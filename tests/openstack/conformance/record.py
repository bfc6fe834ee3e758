"""`python -m tests.openstack.conformance.record VENV`: plays all scenarios to a real Neutron, writes golden.json anew.

VENV is a virtual environment with `neutron` and `werkzeug`. Run by hand when scenarios were added; the tests need the
file only. Answers of 5xx are recorded too: `deviations.py` says what Cove does instead.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from . import golden, neutron_server
from .peers import neutron
from .play import play
from .table import SCENARIOS

START_TIMEOUT_S = 120.0


@contextlib.contextmanager
def running_neutron(venv: Path) -> Iterator[str]:
    """A Neutron of its own in a temporary directory; its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="cove-neutron-", dir="/var/tmp") as directory:
        process = subprocess.Popen(
            [str(venv / "bin/python"), neutron_server.__file__, f"{directory}/neutron", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        timer = threading.Timer(START_TIMEOUT_S, process.kill)
        try:
            timer.start()
            assert process.stdout is not None
            if "ready\n" not in process.stdout:
                raise RuntimeError(f"Neutron did not start, see its log:\n{_log(Path(directory))}")
            timer.cancel()
            yield f"http://127.0.0.1:{port}"
        finally:
            timer.cancel()
            process.kill()
            process.wait(30)


def _log(directory: Path) -> str:
    path = directory / "neutron/neutron.log"
    return path.read_text()[-3000:] if path.exists() else "(none)"


def main() -> None:
    """Record all scenarios."""
    venv = Path(sys.argv[1])
    command = "import importlib.metadata as m; print(m.version('neutron'))"
    version = subprocess.run(
        [str(venv / "bin/python"), "-c", command], capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()
    results: golden.Results = {}
    with running_neutron(venv) as url:
        peer = neutron(url)
        for scenario in SCENARIOS:
            results[golden.title(scenario.group, scenario.title)] = play(peer, scenario)
            print(f"{scenario.group}: {scenario.title}: {len(scenario.calls)} calls", flush=True)
        peer.close()
    golden.write(results, version)


if __name__ == "__main__":
    main()
