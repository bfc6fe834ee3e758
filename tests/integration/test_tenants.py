"""Machines of two projects on one host, with real tokens; and what the default security group lets through."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import httpx
import pytest

from .console import Console
from .cove_instance import CoveInstance, eventually

pytestmark = pytest.mark.timeout(400)

IN_FORCE_WITHIN_S = 2.0


class Member:
    """Somebody with a role in a project, and a token for it."""

    def __init__(self, machine: httpx.Client, name: str, project: str, role: str = "member") -> None:
        found = machine.get("/v3/projects", params={"name": project}).json()["projects"]
        if not found:
            found = [self._made(machine.post("/v3/projects", json={"project": {"name": project}}))["project"]]
        self.project_id = found[0]["id"]
        user = self._made(machine.post("/v3/users", json={"user": {"name": name, "password": "pw"}}))["user"]
        (role_found,) = machine.get("/v3/roles", params={"name": role}).json()["roles"]
        machine.put(f"/v3/projects/{self.project_id}/users/{user['id']}/roles/{role_found['id']}").raise_for_status()
        identity = {"methods": ["password"], "password": {"user": {"id": user["id"], "password": "pw"}}}
        auth = {"identity": identity, "scope": {"project": {"id": self.project_id}}}
        answer = machine.post("/v3/auth/tokens", json={"auth": auth}, headers={"X-Auth-Token": ""})
        assert answer.status_code == 201, answer.text
        token = {"X-Auth-Token": answer.headers["x-subject-token"]}
        self.client = httpx.Client(base_url=machine.base_url, headers=token, timeout=60, trust_env=False)

    @staticmethod
    def _made(answer: httpx.Response) -> dict[str, Any]:
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def make(self, kind: str, **values: Any) -> dict[str, Any]:
        path = f"/v2.0/{kind.replace('_', '-')}s"
        return dict(self._made(self.client.post(path, json={kind: values}))[kind])

    def boot(self, name: str, network: dict[str, Any]) -> str:
        """The id of a new server, once it runs."""
        wanted = {"name": name, "networks": [{"uuid": network["id"]}]}
        answer = self.client.post("/v2.1/servers", json={"server": wanted})
        assert answer.status_code == 202, answer.text
        server_id = str(answer.json()["server"]["id"])
        eventually(lambda: self.server(server_id)["status"] != "BUILD", 240, f"{name} runs")
        server = self.server(server_id)
        assert server["status"] == "ACTIVE", server
        return server_id

    def server(self, server_id: str) -> dict[str, Any]:
        return dict(self.client.get(f"/v2.1/servers/{server_id}").json()["server"])


def test_a_machine_of_one_project_is_not_there_for_another(cove_with_guest: CoveInstance) -> None:
    with cove_with_guest.client() as machine:
        ann, ben = Member(machine, "ann", "anns"), Member(machine, "ben", "bens")
        reader, boss = Member(machine, "reader", "anns", "reader"), Member(machine, "boss", "bosses", "admin")
        lan = ann.make("network", name="lan")
        ann.make("subnet", network_id=lan["id"], ip_version=4, cidr="10.7.0.0/24")
        server_id = ann.boot("vm", lan)
        path = f"/v2.1/servers/{server_id}"

        assert ben.client.get(path).status_code == 404
        assert ben.client.delete(path).status_code == 404
        actions: tuple[dict[str, Any], ...] = ({"os-stop": None}, {"os-start": None}, {"os-getConsoleOutput": {}})
        for action in actions:
            assert ben.client.post(f"{path}/action", json=action).status_code == 404
        for listing in ("/v2.1/servers", "/v2.1/servers/detail?name=vm"):
            assert ben.client.get(listing).json() == {"servers": []}
            assert ben.client.get(f"{listing}{'&' if '?' in listing else '?'}all_tenants=1").status_code == 403
        wanted = {"server": {"name": "vm", "networks": [{"uuid": lan["id"]}]}}
        assert ben.client.post("/v2.1/servers", json=wanted).status_code == 400
        assert ben.client.get("/cove/v1/pools/rbd/images").status_code == 403
        assert boss.client.post("/cove/v1/shutdown").status_code == 403

        assert reader.server(server_id)["status"] == "ACTIVE"
        assert "cove:console_socket" not in reader.server(server_id)
        assert reader.client.delete(path).status_code == 403
        assert reader.client.post(f"{path}/action", json={"os-stop": None}).status_code == 403

        # The same name in another project is another machine with another disk.
        bens = ben.make("network", name="lan")
        ben.make("subnet", network_id=bens["id"], ip_version=4, cidr="10.7.0.0/24")
        bens_id = ben.boot("vm", bens)
        disks = {ann.server(server_id)["cove:disk"]["name"], ben.server(bens_id)["cove:disk"]["name"]}
        assert len(disks) == 2
        every = boss.client.get("/v2.1/servers", params={"all_tenants": 1}).json()["servers"]
        assert {server["id"] for server in every} == {server_id, bens_id}
        assert {server["id"] for server in cove_with_guest.json("server", "list")} == {server_id, bens_id}
        assert "2 servers are called 'vm'" in cove_with_guest.cove("server", "stop", "vm", check=False).stderr

        output = ann.client.post(f"{path}/action", json={"os-getConsoleOutput": {}}).json()["output"]
        assert "10.7.0." in output
        assert ben.client.delete(f"/v2.1/servers/{bens_id}").status_code == 204
        assert ann.server(server_id)["status"] == "ACTIVE"
        assert boss.client.delete(path).status_code == 204
        assert cove_with_guest.json("rbd", "ls", "rbd") == []


def test_a_machine_with_the_default_group(cove_with_guest: CoveInstance) -> None:
    cove = cove_with_guest
    cove.cove("demo")  # it has come to its address by DHCP, through the rules
    (server,) = cove.json("server", "list")
    (port,) = [p for p in cove.json("port", "list") if p["device_id"] == server["id"]]
    (dhcp,) = [p for p in cove.json("port", "list") if p["device_owner"] == "network:dhcp"]
    guest, network = port["fixed_ips"][0]["ip_address"], dhcp["fixed_ips"][0]["ip_address"]

    def pings() -> bool:
        command = ["ip", "netns", "exec", f"qdhcp-{port['network_id']}", "busybox", "ping", "-c1", "-W1", guest]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def soon(wanted: bool) -> None:
        deadline = time.monotonic() + IN_FORCE_WITHIN_S
        while pings() is not wanted:
            assert time.monotonic() < deadline, f"pings: not {wanted} within {IN_FORCE_WITHIN_S} s"

    assert not pings()
    with Console(server["cove:console_socket"]) as console:
        assert console.run(f"ping -c1 -W5 {network}")[0] == 0, "egress and the answers to it"
    assert not pings(), "that the guest has asked is no reason"
    with cove.client() as client:
        rule = {"security_group_id": port["security_groups"][0], "direction": "ingress", "protocol": "icmp"}
        made = client.post("/v2.0/security-group-rules", json={"security_group_rule": rule})
        assert made.status_code == 201, made.text
        soon(True)
        client.delete(f"/v2.0/security-group-rules/{made.json()['security_group_rule']['id']}").raise_for_status()
        soon(False)

        # Somebody removes the tables: with the next change they are there again.
        for family, table in cove.nft_tables():
            if "firewall" in table:
                subprocess.run(["nft", "delete", "table", family, table], check=True)
        assert pings()
        client.post("/v2.0/security-group-rules", json={"security_group_rule": rule | {"protocol": "udp"}})
        soon(False)

        # While Cove is away the rules stay in force, and what is changed meanwhile holds after its start.
        cove.kill()
        assert not pings()
        cove.up()
    assert not pings()
    cove.cove("server", "delete", "vm1")
