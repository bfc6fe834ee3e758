from __future__ import annotations

from typing import Any

from cove.cli.boot import exchange_parts, image_line, port_line, server_line
from cove.cli.demo import network_line


def step(name: str, at: float, **detail: Any) -> dict[str, Any]:
    return {"name": name, "at": at, "detail": detail}


EXCHANGE = [
    step("requested", 1.0),
    step("DHCPDISCOVER", 13.1),
    step("DHCPOFFER", 13.2),
    step("DHCPREQUEST", 13.2),
    step("DHCPACK", 13.3, ip_address="1.1.1.10", lease_s=86400),
]
SERVER = {"name": "vm1", "status": "ACTIVE", "addresses": {"n": [{"addr": "1.1.1.10"}]}}


def test_image_line() -> None:
    detail = {
        "pool": "rbd",
        "name": "d",
        "size_bytes": 256 << 20,
        "object_names": ["rbd_id.d", "rbd_header.10f2"],
        "operations": 9,
        "commits": 5,
    }
    assert image_line(detail) == "rbd/d 256 MiB · rbd_id.d · rbd_header.10f2 · 9 operations, 5 commits"


def test_port_line() -> None:
    port = {"mac_address": "fa:16:3e:00:00:01", "fixed_ips": [{"ip_address": "1.1.1.10"}]}
    steps = [step("requested", 5.0), step("committed", 5.004), step("ready", 5.02)]
    assert port_line(port, steps) == "fa:16:3e:00:00:01 1.1.1.10 · committed +4.0 ms · ready +20 ms"
    assert port_line(port, []) == "fa:16:3e:00:00:01 1.1.1.10"


def test_server_line_tells_the_exchange_and_the_disk() -> None:
    steps = [step("started", 10.0), step("disk_verified", 14.0, disk="vda", size_bytes=256 << 20, state="written")]
    assert server_line(SERVER, steps, EXCHANGE) == (
        "DHCPDISCOVER +3.1 s · DHCPOFFER · DHCPREQUEST · DHCPACK 1.1.1.10 · lease 86400 s"
        " · /dev/vda 256 MiB written and read back · login on `cove console vm1`"
    )


def test_server_line_looks_at_the_newest_start_only() -> None:
    steps = [
        step("started", 10.0),
        step("disk_verified", 14.0, disk="vda", size_bytes=1, state="written"),
        step("started", 90.0),
    ]
    assert server_line(SERVER, steps, EXCHANGE) == "login on `cove console vm1`"


def test_server_line_after_a_restart_of_the_server() -> None:
    assert server_line(SERVER, [], []) == "ACTIVE · 1.1.1.10 · login on `cove console vm1`"


SIX = [
    step("RTR-SOLICIT", 13.4, ip_address=None),
    step("DHCPSOLICIT", 13.5, ip_address=None),
    step("DHCPADVERTISE", 13.5, ip_address="fd77:1::10"),
    step("DHCPREQUEST", 13.6, ip_address=None),
    step("DHCPREPLY", 13.6, ip_address="fd77:1::10", lease_s=86400),
    step("DHCPREPLY", 13.6, ip_address="fd77:3::10", lease_s=86400),
]


def test_server_line_of_a_dual_stack() -> None:
    expected = [
        {"by": "DHCP", "ip_addresses": ["1.1.1.10"]},
        {"by": "DHCPv6", "ip_addresses": ["fd77:1::10"]},
        {"by": "SLAAC", "ip_addresses": ["fd77:2::f816:3eff:fe00:1"]},
    ]
    steps = [step("started", 10.0), step("addresses", 13.9, ip_addresses=[], expected=expected)]
    assert server_line(SERVER, steps, sorted([*EXCHANGE, *SIX], key=lambda step: step["at"])) == (
        "DHCPDISCOVER +3.1 s · DHCPOFFER · DHCPREQUEST · DHCPACK 1.1.1.10 · lease 86400 s"
        " · DHCPSOLICIT +3.5 s · DHCPADVERTISE · DHCPREQUEST · DHCPREPLY fd77:1::10 fd77:3::10 · lease 86400 s"
        " · RTR-SOLICIT +3.4 s · SLAAC fd77:2::f816:3eff:fe00:1 · login on `cove console vm1`"
    )


def test_server_line_without_a_lease() -> None:
    expected = [{"by": "SLAAC", "ip_addresses": ["fd77:2::f816:3eff:fe00:1"]}]
    steps = [step("started", 10.0), step("addresses", 13.9, ip_addresses=[], expected=expected)]
    assert server_line(SERVER, steps, SIX[:1]).startswith("RTR-SOLICIT +3.4 s · SLAAC fd77:2::f816:3eff:fe00:1 · ")
    assert server_line(SERVER, steps, []).startswith("SLAAC fd77:2::f816:3eff:fe00:1 · ")


def test_an_exchange_may_begin_with_a_request() -> None:
    assert exchange_parts(EXCHANGE[3:], 10.0)[0] == "DHCPREQUEST +3.2 s"


def test_network_line() -> None:
    served = {"namespace": "qdhcp-43c0e274-1111-2222", "interface": "ns-f7620da4-39", "pid": 7}
    assert network_line({"cidr": "1.1.1.0/24"}, served) == (
        "demo-net · subnet 1.1.1.0/24 · DHCP agent ready (namespace qdhcp-43c0e274…, ns-f7620da4-39, dnsmasq pid 7)"
    )
