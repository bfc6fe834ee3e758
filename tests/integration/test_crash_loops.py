"""`kill -9` of the whole server, again and again, under load: what was acknowledged is there afterwards.

Store, API and agent run in one process here, so one kill hits all of them at whatever they are doing.
"""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import httpx

from .cove_instance import CoveInstance, eventually

ROUNDS = 30


class Load:
    """Creates and deletes ports as fast as it can, and writes down what was acknowledged."""

    def __init__(self, cove: CoveInstance, network_id: str, ports: dict[str, Any], deleted: set[str]) -> None:
        self.cove, self.network_id, self.ports, self.deleted = cove, network_id, ports, deleted
        self.acknowledged = 0
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        """Until the server is gone."""
        rng = random.Random(len(self.ports))
        with self.cove.client() as client:
            try:
                while True:
                    if self.ports and rng.random() < 0.3:
                        victim = rng.choice(list(self.ports))
                        # once asked, it may be gone whatever the answer
                        port = self.ports.pop(victim)
                        self.deleted.add(victim)
                        response = client.delete(f"/v2.0/ports/{victim}")
                        assert response.status_code in (204, 404), (response.text, port)
                    else:
                        body = {"port": {"network_id": self.network_id}}
                        response = client.post("/v2.0/ports", json=body)
                        assert response.status_code == 201, response.text
                        port = response.json()["port"]
                        self.ports[port["id"]] = port
                    self.acknowledged += 1
                    self.enough.set()
            except httpx.TransportError:
                return


def host_entries(cove: CoveInstance, network_id: str) -> set[tuple[str, str]]:
    """(MAC, IP) pairs that the readable host file names."""
    path = cove.state / "dhcp" / network_id / "host"
    if not path.exists():
        return set()
    return {(line.split(",")[0], line.split(",")[-1]) for line in path.read_text().splitlines() if line}


def pairs(ports: dict[str, Any]) -> set[tuple[str, str]]:
    """(MAC, IP) pairs of ports."""
    return {(port["mac_address"], port["fixed_ips"][0]["ip_address"]) for port in ports.values()}


def test_every_acknowledged_port_survives(cove: CoveInstance) -> None:
    rng = random.Random(1)
    with cove.client() as client:
        network = client.post("/v2.0/networks", json={"network": {"name": "n"}}).json()["network"]
        subnet = {"network_id": network["id"], "cidr": "10.9.0.0/16", "ip_version": 4}
        assert client.post("/v2.0/subnets", json={"subnet": subnet}).status_code == 201
        unlimited = client.put(f"/v2.0/quotas/{network['project_id']}", json={"quota": {"port": -1}})
        assert unlimited.status_code == 200, unlimited.text
    ports: dict[str, Any] = {}
    deleted: set[str] = set()
    for _round in range(ROUNDS):
        load = Load(cove, network["id"], ports, deleted)
        load.thread.start()
        assert load.enough.wait(30)
        load.thread.join(rng.random() * 0.3)  # the moment of the kill is random
        cove.kill()
        load.thread.join(30)
        assert not load.thread.is_alive()
        cove.up()
        with cove.client() as client:
            stored = {port["id"]: port for port in client.get("/v2.0/ports").json()["ports"]}
        assert set(ports) <= set(stored), "an acknowledged port is gone"
        for port_id, port in ports.items():
            assert stored[port_id]["fixed_ips"] == port["fixed_ips"]
            assert stored[port_id]["mac_address"] == port["mac_address"]
        # unacknowledged creates may have happened; they are whole, and unique
        addresses = [ip["ip_address"] for port in stored.values() for ip in port["fixed_ips"]]
        assert len(addresses) == len(set(addresses))
        ports = {i: p for i, p in stored.items() if p["device_owner"] != "network:dhcp" and i not in deleted}

    def served() -> bool:
        with cove.client() as client:
            now = {p["id"]: p for p in client.get("/v2.0/ports").json()["ports"] if p["device_owner"] != "network:dhcp"}
        return pairs(now) == host_entries(cove, network["id"]) and all(p["status"] == "ACTIVE" for p in now.values())

    eventually(served, 30, "the DHCP server knows exactly the ports of the database")


def test_images_survive(cove: CoveInstance, tmp_path: Path) -> None:
    """Images created or removed with an answer stay so; half-made ones leave nothing that blocks the name."""
    rng = random.Random(2)
    known: set[str] = set()
    for round_ in range(10):
        uncertain: str | None = None

        def work(round_: int = round_) -> None:
            nonlocal uncertain
            with cove.client() as client:
                try:
                    for number in range(1000):
                        uncertain = f"image-{round_}-{number}"
                        path = f"/cove/v1/pools/rbd/images/{uncertain}"
                        response = client.post(path, json={"size_bytes": 64 << 20})
                        assert response.status_code == 201, response.text
                        known.add(uncertain)
                except httpx.TransportError:
                    return

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(0.2 + rng.random() * 0.3)
        cove.kill()
        thread.join(30)
        cove.up()
        with cove.client() as client:
            stored = {image["name"] for image in client.get("/cove/v1/pools/rbd/images").json()["images"]}
            assert known <= stored
            for name in stored - known:
                client.delete(f"/cove/v1/pools/rbd/images/{name}")
            if uncertain is not None and uncertain not in known:
                path = f"/cove/v1/pools/rbd/images/{uncertain}"
                assert client.post(path, json={"size_bytes": 64 << 20}).status_code == 201
                known.add(uncertain)
