"""dnsmasq's command line, log, leases and the release packet."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.dhcp.drivers import dnsmasq_args, leases, release
from cove.dhcp.drivers.base import Exchange, ServedNetwork
from cove.dhcp.drivers.dnsmasq_log import (
    FileNoticed,
    FileRead,
    FileRejected,
    LogEvent,
    LogParser,
    Reloading,
    parse_line,
)
from cove.dhcp.drivers.leases import Lease, LeaseTable
from cove.dhcp.models import SubnetInfo

from .builders import NETWORK, SUBNET, SUBNET_2, subnet

MAC = "fa:16:3e:00:00:01"


def served(*subnets: SubnetInfo) -> ServedNetwork:
    return ServedNetwork(NETWORK, 1450, subnets, {}, "qdhcp-x", "ns-0123456789a", ("1.1.1.2/24",))


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


LEASE_LINE = f"1795392939 {MAC} 1.1.1.11 h1 01:{MAC}"


@pytest.mark.parametrize(
    ("line", "lease"),
    [
        (LEASE_LINE, Lease(1795392939, MAC, "1.1.1.11")),
        (f"0 {MAC.upper()} 1.1.1.11 * *", Lease(0, MAC, "1.1.1.11")),
        (LEASE_LINE[:30], None),
        (f"x {MAC} 1.1.1.11 * *", None),
        (f"1 {MAC} fd00::1 * *", None),
        (f"1 {MAC[:-1]} 1.1.1.11 * *", None),
        ("duid 00:01:00:01", None),
        ("", None),
    ],
)
def test_lease_lines(line, lease):
    assert leases.parse_line(line) == lease


@given(st.integers(0, len(LEASE_LINE) * 2))
def test_a_torn_lease_file_gives_only_whole_leases(cut):
    text = f"{LEASE_LINE}\n{LEASE_LINE.replace('1.1.1.11', '1.1.1.12')}\n"[:cut]
    assert {lease.mac_address for lease in leases.parse(text)} <= {MAC}
    assert {lease.ip_address for lease in leases.parse(text)} <= {"1.1.1.11", "1.1.1.12"}


def test_pruning_keeps_what_is_wanted_and_what_is_no_lease():
    other = LEASE_LINE.replace("1.1.1.11", "1.1.1.12")
    text = f"{LEASE_LINE}\n{other}\nduid 00:01\n"
    assert leases.keep(text, lambda mac, ip: ip == "1.1.1.12") == f"{other}\nduid 00:01\n"
    assert leases.keep(text, lambda mac, ip: True) == text


def test_lease_table():
    table = LeaseTable([Lease(0, MAC, "1.1.1.11")])
    assert table.holds(MAC, "1.1.1.11")
    table.released("fa:16:3e:00:00:02", "1.1.1.11")
    assert len(table) == 1
    table.acknowledged("fa:16:3e:00:00:02", "1.1.1.11")
    assert table.pairs() == [("fa:16:3e:00:00:02", "1.1.1.11")]
    table.released("fa:16:3e:00:00:02", "1.1.1.11")
    assert len(table) == 0


def test_release_packet():
    packet = release.encode(MAC, "1.1.1.11", "1.1.1.2", 0x12345678)
    op, hardware, length, hops, transaction, _secs, _flags, client = struct.unpack_from("!BBBBIHH4s", packet)
    assert (op, hardware, length, hops, transaction) == (1, 1, 6, 0, 0x12345678)
    assert client == bytes([1, 1, 1, 11])
    assert packet[28:34].hex(":") == MAC
    assert packet[236:240] == bytes([99, 130, 83, 99])
    assert packet[240:] == bytes([53, 1, 7, 54, 4, 1, 1, 1, 2, 255])
    assert len(packet) == 250
