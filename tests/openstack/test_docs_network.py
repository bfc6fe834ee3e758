"""docs/network.md is true: its commands and its program run, and every extension that it names is listed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from .cli import OpenStackCli
from .cloud import PEERS, Cloud

TEXT = (Path(__file__).parents[2] / "docs/network.md").read_text()
COMMANDS = re.findall(r"^openstack --os-cloud cove-demo (.+)$", TEXT, re.MULTILINE)
(PROGRAM,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
USER = "alice"


@pytest.fixture(scope="module")
def made(engine_cloud: Cloud, peers: Path) -> Cloud:
    """What the first minute of the document makes."""
    assert len(COMMANDS) >= 4
    with OpenStackCli(engine_cloud) as cli:
        for command in COMMANDS:
            outcome = cli.try_(USER, command)
            assert outcome.code == 0, f"{command}: {outcome.errors}"
        shown = cli.try_(USER, "port show web -f json -c fixed_ips -c dns_name").json
    addresses = [entry["ip_address"] for entry in shown["fixed_ips"]]
    assert [address.split(":")[0].split(".")[0] for address in addresses] == ["10", "fd00"]
    return engine_cloud


def test_the_program_prints_the_port(made: Cloud) -> None:
    program = PROGRAM.replace('cloud="cove-demo"', f'cloud="{USER}"')
    run = subprocess.run(
        [str(PEERS / "bin/python"), "-c", program],
        env=made.client_environment(USER),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "'ip_address': '10.5.0." in run.stdout


def test_the_extensions_of_its_table_are_there(made: Cloud) -> None:
    with OpenStackCli(made) as cli:
        listed = {row["Alias"] for row in cli.try_(USER, "extension list -f json").json}
    table = TEXT.partition("| extensions |")[2].partition("\n\n")[0]
    aliases = {
        alias
        for row in table.splitlines()
        if row.startswith("| ") and row.count("|") == 4
        for alias in re.findall(r"[a-z][a-z0-9_-]+", row.split("|")[3])
        if re.search(r"[-_]", alias) or alias in ("binding", "provider", "quotas", "agent")
    }
    assert len(aliases) > 20
    assert aliases <= listed | {"net-mtu-writable"}, aliases - listed
