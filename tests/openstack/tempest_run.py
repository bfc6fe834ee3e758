"""The public test suite for the Networking API, run against Cove: `./run-tests tempest [sqlite|postgresql] [REGEX]`.

Tempest's own tests of the API (tempest.api.network) and those of Neutron's plugin for it (neutron_tempest_plugin.api),
which skip what the extension list does not name. Prints what passed, what was skipped and why, and each failure.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.postgres_server import PostgresServer

from .cloud import PEERS, Cloud

ALL = r"^(tempest\.api\.network|neutron_tempest_plugin\.api)\."
WORKERS = 2
RUN_TIMEOUT_S = 3600
PHYSICAL_NETWORK = "physnet1"
NOT_FOUND = "tempest.lib.exceptions.NotFound"
ROUTERS = re.compile(r"\bin (?:create|list)_(?:routers?|floatingips?)\n")
"""Some tests make a router, or clean up routers, without asking whether there is such an extension; they fail with any
server that has none, and say nothing else about it."""
OUTCOMES = ("passed", "skipped", "routers", "failed")
ABSENT_SERVICES = ("cinder", "glance", "horizon", "nova", "swift")


@dataclass(frozen=True, slots=True)
class Result:
    """Of one test, or of the set-up of a class."""

    id: str
    status: str
    seconds: float
    reason: str
    text: str
    log: str

    @property
    def outcome(self) -> str:
        """A column of the table."""
        if self.status in ("success", "xfail"):
            return "passed"
        if self.status == "skip":
            return "skipped"
        return "routers" if NOT_FOUND in self.text and ROUTERS.search(self.text) else "failed"


def configuration(cloud: Cloud, public_network: str, extensions: list[str], directory: Path) -> str:
    """tempest.conf for this cloud."""
    sections: dict[str, dict[str, Any]] = {
        "DEFAULT": {"log_file": directory / "tempest.log"},
        "oslo_concurrency": {"lock_path": directory / "locks"},
        "auth": {
            "use_dynamic_credentials": True,
            "create_isolated_networks": False,
            "tempest_roles": "member",
            "admin_username": "admin",
            "admin_project_name": "admin",
            "admin_password": cloud.passwords["admin"],
            "admin_domain_name": "Default",
        },
        "identity": {
            "auth_version": "v3",
            "uri_v3": cloud.auth_url,
            "region": "RegionOne",
            "v3_endpoint_type": "public",
        },
        "service_available": {"neutron": True, **dict.fromkeys(ABSENT_SERVICES, False)},
        "enforce_scope": {"neutron": True},
        "validation": {"run_validation": False},
        "network": {"public_network_id": public_network},
        "network-feature-enabled": {
            "api_extensions": ",".join(extensions),
            "ipv6": True,
            "ipv6_subnet_attributes": True,
            "port_security": True,
            "floating_ips": False,
        },
        "neutron_plugin_options": {
            "provider_vlans": PHYSICAL_NETWORK,
            "agent_availability_zone": "nova",
            "available_type_drivers": "flat,vlan,vxlan,local",
            "create_shared_resources": True,
        },
    }
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
        for name, values in sections.items()
    )


def run(cloud: Cloud, directory: Path, regex: str = ALL, workers: int = WORKERS) -> list[Result]:
    """Run the tests that match. Raises RuntimeError if the suite itself does not work."""
    directory.mkdir(parents=True, exist_ok=True)
    public_network, extensions = _prepare(cloud)
    (directory / "tempest.conf").write_text(configuration(cloud, public_network, extensions, directory))
    (directory / "tempest.conf").chmod(0o600)
    packages = next((PEERS / "lib").glob("python3*/site-packages"))
    (directory / ".stestr.conf").write_text(
        f"[DEFAULT]\ntest_path={packages}/tempest/test_discover\ntop_dir={packages}\ngroup_regex=([^\\.]*\\.)*\n"
    )
    environment = cloud.client_environment("admin") | {
        "TEMPEST_CONFIG_DIR": str(directory),
        "TEMPEST_CONFIG": "tempest.conf",
        "PATH": f"{PEERS}/bin:/usr/bin:/bin",
        "OS_TEST_TIMEOUT": "300",
    }
    for name in ("OS_CLOUD", "OS_CLIENT_CONFIG_FILE"):
        del environment[name]
    with (directory / "stestr.log").open("wb") as log:
        subprocess.run(
            [str(PEERS / "bin/stestr"), "run", "--concurrency", str(workers), regex],
            cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            timeout=RUN_TIMEOUT_S, check=False,
        )  # fmt: skip
    stream = subprocess.run(
        [str(PEERS / "bin/stestr"), "last", "--subunit"], cwd=directory, env=environment, capture_output=True,
        timeout=300, check=False,
    ).stdout  # fmt: skip
    lines = subprocess.run(
        [str(PEERS / "bin/python"), str(Path(__file__).with_name("tempest_results.py"))],
        input=stream, capture_output=True, timeout=300, check=True,
    ).stdout  # fmt: skip
    results = [Result(**json.loads(line)) for line in lines.splitlines()]
    results = [result for result in results if result.status != "exists"]
    if not results:
        raise RuntimeError(f"no test ran:\n{(directory / 'stestr.log').read_text()[-3000:]}")
    return results


def _prepare(cloud: Cloud) -> tuple[str, list[str]]:
    """The external network that the suite wants to be there, and the extensions."""
    headers = {"X-Auth-Token": cloud.token("admin")}
    with httpx.Client(base_url=f"{cloud.url}/v2.0", headers=headers, trust_env=False, timeout=30) as http:
        network = {
            "name": "public",
            "router:external": True,
            "provider:network_type": "flat",
            "provider:physical_network": PHYSICAL_NETWORK,
        }
        made = http.post("/networks", json={"network": network}).raise_for_status().json()["network"]
        subnet = {"network_id": made["id"], "ip_version": 4, "cidr": "203.0.113.0/24", "enable_dhcp": False}
        http.post("/subnets", json={"subnet": subnet}).raise_for_status()
        answer = http.get("/extensions").raise_for_status().json()
    return made["id"], sorted(extension["alias"] for extension in answer["extensions"])


def failures(results: list[Result]) -> list[Result]:
    """Those that say that something is wrong."""
    return [result for result in results if result.outcome == "failed"]


def describe(results: list[Result], seconds: float) -> str:
    """A table of what happened, for people."""
    suites: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: Counter[str] = Counter()
    for result in results:
        suites[_suite(result.id)][result.outcome] += 1
        if result.outcome == "skipped":
            reasons[result.reason.strip().splitlines()[-1] if result.reason.strip() else "(no reason)"] += 1
        elif result.outcome == "routers":
            reasons["not skipped, but made or listed routers or floating IPs"] += 1
    suites["all"] = sum(suites.values(), Counter())
    lines = [f"{'':72}" + "".join(f"{outcome:>9}" for outcome in OUTCOMES)]
    for suite, counts in suites.items():
        lines.append(f"{suite:72}" + "".join(f"{counts[outcome]:9}" for outcome in OUTCOMES))
    lines += ["", "not run because:"]
    lines += [f"{count:5}  {why}" for why, count in reasons.most_common()]
    lines += ["", f"{seconds:.0f} s"]
    return "\n".join(lines)


def _suite(test: str) -> str:
    name = test.split("(", 1)[1].rstrip(")") if test.startswith("setUpClass") else test.split("[")[0].rpartition(".")[0]
    return name.rpartition(".")[0]


@contextlib.contextmanager
def cloud_on(engine: str, directory: Path) -> Iterator[Cloud]:
    """A Cove on SQLite or PostgreSQL as the suite wants it: physical networks, its DHCP ports there."""
    settings = {"physical_networks": json.dumps([PHYSICAL_NETWORK]), "test_dhcp_ports": "1"}
    with contextlib.ExitStack() as stack:
        url = ""
        if engine == "postgresql":
            url = stack.enter_context(PostgresServer()).create_database("tempest")
        yield stack.enter_context(Cloud(directory, url, **settings))


def main(arguments: list[str]) -> int:
    """Run on the engines asked for; 1 if anything failed."""
    engines = [arguments.pop(0)] if arguments and arguments[0] in ("sqlite", "postgresql") else ["sqlite", "postgresql"]
    regex = arguments[0] if arguments else ALL
    failed = False
    for engine in engines:
        with tempfile.TemporaryDirectory(prefix="cove-tempest-", dir="/var/tmp") as directory:
            began = time.monotonic()
            with cloud_on(engine, Path(directory) / "cloud") as cloud:
                results = run(cloud, Path(directory) / "tempest", regex)
                print(f"--- {engine}\n{describe(results, time.monotonic() - began)}")
                for result in failures(results):
                    failed = True
                    print(f"\nFAILED {result.id}\n{result.text}\n{result.log[-2000:]}")
                for line in cloud.errors():
                    failed = True
                    print(f"the server's log: {line}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
