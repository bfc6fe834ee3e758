"""dnsmasq's command line, log, leases and the release packet."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.dhcp.drivers import dnsmasq_args, release
from cove.dhcp.drivers.base import Exchange
from cove.dhcp.drivers.dnsmasq_log import (
    FileNoticed,
    FileRead,
    FileRejected,
    LogEvent,
    LogParser,
    Reloading,
    mac_of_duid,
    parse_line,
)
from cove.dhcp.models import SLAAC, STATEFUL, STATELESS, SubnetInfo

from .builders import SUBNET, SUBNET_2, SUBNET_6, served, subnet, subnet_6

MAC = "fa:16:3e:00:00:01"
DUID = f"00:03:00:01:{MAC}"


def argv(*subnets: SubnetInfo, **values: Any) -> list[str]:
    options: dict[str, Any] = {"lease_duration_s": 600, "domain": "lab", "user": "nobody", "group": "nogroup", **values}
    return dnsmasq_args.arguments("/usr/sbin/dnsmasq", Path("/s"), served(*subnets), **options)


def test_command_line():
    made = argv(subnet(SUBNET_2, "2.2.0.0/16"), subnet())
    assert made[0] == "/usr/sbin/dnsmasq"
    ranges = [item for item in made if item.startswith("--dhcp-range=")]
    assert ranges == [
        f"--dhcp-range=set:subnet-{SUBNET},1.1.1.0,static,255.255.255.0,600s",
        f"--dhcp-range=set:subnet-{SUBNET_2},2.2.0.0,static,255.255.0.0,600s",
    ]
    for expected in (
        "--dhcp-option-force=option:mtu,1450",
        "--interface=ns-0123456789a",
        "--except-interface=lo",
        "--bind-dynamic",
        "--no-resolv",
        "--user=nobody",
        "--domain=lab",
        f"--dhcp-lease-max={65536 + 256}",
        "--dhcp-hostsdir=/s/hosts.d",
    ):
        assert expected in made


def test_the_order_of_subnets_does_not_matter():
    one, two = subnet(), subnet(SUBNET_2, "2.2.2.0/24")
    assert argv(one, two) == argv(two, one)
    assert argv(one) != argv(one, two)
    assert not [item for item in argv(one, domain="") if item.startswith("--domain")]


def test_lease_max_is_bounded():
    assert dnsmasq_args.lease_max([subnet(cidr="10.0.0.0/8"), subnet(cidr="11.0.0.0/8")]) == 1 << 24


def extra(*subnets: SubnetInfo) -> list[str]:
    """What of the command line is about ranges and advertisements."""
    return [item for item in argv(*subnets) if item.startswith(("--dhcp-range=", "--enable-ra", "--ra-param"))]


def test_advertisements():
    four = f"--dhcp-range=set:subnet-{SUBNET},1.1.1.0,static,255.255.255.0,600s"
    six = f"--dhcp-range=set:subnet-{SUBNET_6},fd77:1::"
    link = "--ra-param=ns-0123456789a,mtu:1450,0,0"
    assert extra(subnet(), subnet_6(None)) == [four, f"{six},static,64,600s"]
    assert extra(subnet(), subnet_6(None, SLAAC)) == [four]
    assert extra(subnet(), subnet_6(SLAAC, SLAAC)) == [four, f"{six},ra-only,64,600s", link]
    assert extra(subnet(), subnet_6(STATELESS, STATELESS)) == [four, f"{six},ra-stateless,64,600s", link]
    assert extra(subnet(), subnet_6(STATEFUL, STATEFUL)) == [four, f"{six},static,64,600s", "--enable-ra", link]


def test_the_cache_is_not_made_for_every_address_of_ipv6():
    assert dnsmasq_args.cache_size([subnet_6(None)]) == 2048
    assert dnsmasq_args.lease_max([subnet_6(None)]) == 1 << 24


PREFIX, DHCP = "Nov 22 00:11:28 dnsmasq[81]: ", "Nov  2 00:11:28 dnsmasq-dhcp[81]: "


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (DHCP + f"DHCPDISCOVER(ns-1) {MAC} ", Exchange("DHCPDISCOVER", MAC, None, "")),
        (DHCP + f"DHCPDISCOVER(ns-1) 1.1.1.5 {MAC} ", Exchange("DHCPDISCOVER", MAC, "1.1.1.5", "")),
        (
            DHCP + f"DHCPDISCOVER(ns-1) {MAC} no address available",
            Exchange("DHCPDISCOVER", MAC, None, "no address available"),
        ),
        (DHCP + f"DHCPOFFER(ns-1) 1.1.1.11 {MAC} ", Exchange("DHCPOFFER", MAC, "1.1.1.11", "")),
        (DHCP + f"DHCPREQUEST(ns-1) 1.1.1.11 {MAC} ", Exchange("DHCPREQUEST", MAC, "1.1.1.11", "")),
        (DHCP + f"DHCPACK(ns-1) 1.1.1.11 {MAC} h1", Exchange("DHCPACK", MAC, "1.1.1.11", "h1")),
        (DHCP + f"DHCPNAK(ns-1) 1.1.1.9 {MAC} wrong address", Exchange("DHCPNAK", MAC, "1.1.1.9", "wrong address")),
        (
            DHCP + f"DHCPRELEASE(ns-1) 1.1.1.11 {MAC} unknown lease",
            Exchange("DHCPRELEASE", MAC, "1.1.1.11", "unknown lease"),
        ),
        (DHCP + f"DHCPSOLICIT(ns-1) {DUID} ", Exchange("DHCPSOLICIT", MAC, None, "", DUID)),
        (DHCP + f"DHCPREQUEST(ns-1) {DUID} ", Exchange("DHCPREQUEST", MAC, None, "", DUID)),
        (DHCP + f"DHCPREPLY(ns-1) fd77:1::11 {DUID} vm1", Exchange("DHCPREPLY", MAC, "fd77:1::11", "vm1", DUID)),
        (DHCP + f"DHCPINFORMATION-REQUEST(ns-1) {DUID} ",
            Exchange("DHCPINFORMATION-REQUEST", MAC, None, "", DUID)),
        (DHCP + "DHCPSOLICIT(ns-1) 00:04:01:02:03:04 ", Exchange("DHCPSOLICIT", "", None, "", "00:04:01:02:03:04")),
        (DHCP + "DHCPREQUEST(ns-1) 00:04:01:02:03:04 ", Exchange("DHCPREQUEST", "", None, "", "00:04:01:02:03:04")),
        (DHCP + "DHCPREPLY(ns-1) fd77:1::1::1 00:04:01:02:03:04 ", None),
        (DHCP + f"RTR-SOLICIT(ns-1) {MAC}", Exchange("RTR-SOLICIT", MAC, None, "")),
        (DHCP + "RTR-SOLICIT(ns-1) ", None),
        (DHCP + "RTR-ADVERT(ns-1) fd77:1::", None),
        (PREFIX + "inotify: /s/opts.d/barrier-0 new or modified", FileNoticed("/s/opts.d/barrier-0")),
        (PREFIX + "inotify, new or changed file /s/opts.d/b", FileNoticed("/s/opts.d/b")),
        (PREFIX + "inotify: /s/hosts.d/1.1.1.10 removed", None),
        (PREFIX + "inotify: flushed 2 names read from /s/names.d/a", None),
        (DHCP + "read /s/hosts.d/1.1.1.10", FileRead("/s/hosts.d/1.1.1.10")),
        (PREFIX + "read /s/names.d/1.1.1.10 - 2 names", FileRead("/s/names.d/1.1.1.10")),
        (PREFIX + "cleared cache", Reloading()),
        (
            PREFIX + "duplicate dhcp-host IP address 1.1.1.12 at line 1 of /s/hosts.d/1.1.1.12",
            FileRejected("/s/hosts.d/1.1.1.12", 1, "duplicate dhcp-host IP address 1.1.1.12"),
        ),
        (PREFIX + "bad hex constant at line 2 of /s/hosts.d/a", FileRejected("/s/hosts.d/a", 2, "bad hex constant")),
        (PREFIX + "cannot read /s/hosts.d/p2: No such file or directory", None),
        (PREFIX + "started, version 2.90 cachesize 150", None),
        ("", None),
        ("read /s/hosts.d/1.1.1.10", None),
        (DHCP + "DHCPACK(ns-1) not an address", None),
        (DHCP + f"DHCPACK(ns-1) 1.1.1.11 {MAC} inotify: /x new or modified", Exchange(
            "DHCPACK", MAC, "1.1.1.11", "inotify: /x new or modified")),
    ],
)  # fmt: skip
def test_log_lines(line, event):
    assert parse_line(line) == event


@pytest.mark.parametrize(
    ("kind", "address", "note", "gives"),
    [
        ("DHCPACK", "1.1.1.11", "h1", True),
        ("DHCPACK", None, "", False),
        ("DHCPREPLY", "fd77:1::11", "", True),
        ("DHCPREPLY", "fd77:1::11", "vm1", True),
        ("DHCPREPLY", "fd77:1::11", "lease not found", False),
        ("DHCPREPLY", None, "no addresses available", False),
        ("DHCPADVERTISE", "fd77:1::11", "", False),
        ("DHCPOFFER", "1.1.1.11", "", False),
    ],
)
def test_what_gives_a_lease(kind, address, note, gives):
    assert Exchange(kind, MAC, address, note).gives_lease is gives


def test_macs_in_duids():
    assert mac_of_duid(DUID) == mac_of_duid(f"00:01:00:01:32:95:75:cc:{MAC}") == MAC
    assert mac_of_duid(f"00:03:00:06:{MAC}") == ""  # another kind of hardware
    assert mac_of_duid(f"00:04:{MAC}:{MAC}:00:00:00:00") == ""
    assert mac_of_duid(DUID + ":00") == mac_of_duid("") == ""


LINES = [
    DHCP + f"DHCPACK(ns-1) 1.1.1.11 {MAC} h1",
    PREFIX + "cleared cache",
    "noise",
    PREFIX + "inotify: /s/opts.d/barrier-0 new or modified",
]


@given(st.lists(st.integers(1, 40), max_size=60))
def test_log_in_any_pieces(sizes):
    data = "".join(f"{line}\n" for line in LINES * 3).encode()
    parser, position = LogParser(), 0
    events: list[LogEvent] = []
    for size in [*sizes, len(data)]:
        events += parser.feed(data[position : position + size])
        position += size
    assert events == [event for line in LINES * 3 if (event := parse_line(line)) is not None]


@given(st.binary(max_size=300))
def test_any_log_is_survived(data):
    list(LogParser().feed(data))


def test_an_endless_line_does_not_fill_the_memory():
    parser = LogParser()
    for _ in range(100):
        assert list(parser.feed(b"x" * 4096)) == []
    assert len(parser._rest) <= 4096
    (event,) = parser.feed(f"\n{PREFIX}cleared cache\n".encode())
    assert event == Reloading()


def test_release_packet():
    packet = release.encode(MAC, "1.1.1.11", "1.1.1.2", 0x12345678)
    op, hardware, length, hops, transaction, _secs, _flags, client = struct.unpack_from("!BBBBIHH4s", packet)
    assert (op, hardware, length, hops, transaction) == (1, 1, 6, 0, 0x12345678)
    assert client == bytes([1, 1, 1, 11])
    assert packet[28:34].hex(":") == MAC
    assert packet[236:240] == bytes([99, 130, 83, 99])
    assert packet[240:] == bytes([53, 1, 7, 54, 4, 1, 1, 1, 2, 255])
    assert len(packet) == 250
