"""The lease file, who has which lease, and the messages that give one back."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.dhcp.drivers import leases, release6
from cove.dhcp.drivers.base import Exchange
from cove.dhcp.drivers.lease_keeper import LeaseKeeper
from cove.dhcp.drivers.leases import Lease, Lease6, LeaseTable

MAC, MAC_2 = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
DUID, DUID_2, DUID_UUID = f"00:03:00:01:{MAC}", f"00:03:00:01:{MAC_2}", "00:04:0a:0b:0c:0d"
LEASE_LINE = f"1795392939 {MAC} 1.1.1.11 h1 01:{MAC}"
LEASE_LINE_6 = f"1795392939 1040187393 fd77:1::11 * {DUID}"
SERVER_LINE = "duid 00:01:00:01:32:95:75:cc:fa:16:3e:00:00:99"


@pytest.mark.parametrize(
    ("line", "lease"),
    [
        (LEASE_LINE, Lease(1795392939, MAC, "1.1.1.11")),
        (f"0 {MAC.upper()} 1.1.1.11 * *", Lease(0, MAC, "1.1.1.11")),
        (LEASE_LINE[:30], None),
        (f"x {MAC} 1.1.1.11 * *", None),
        (f"1 {MAC} fd00::1 * *", None),
        (f"1 {MAC[:-1]} 1.1.1.11 * *", None),
        (LEASE_LINE_6, Lease6(1795392939, DUID, 1040187393, "fd77:1::11")),
        (f"0 T7 FD77::0:1 vm {DUID_UUID.upper()}", Lease6(0, DUID_UUID, 7, "fd77::1", temporary=True)),
        (f"0 7 1.1.1.11 * {DUID}", None),
        ("0 7 fd77::1 * *", None),
        (f"0 {1 << 32} fd77::1 * {DUID}", None),
        (f"0 -7 fd77::1 * {DUID}", None),
        (SERVER_LINE, None),
        ("", None),
    ],
)
def test_lines(line, lease):
    assert leases.parse_line(line) == lease


@given(st.integers(0, 400))
def test_a_torn_file_gives_only_whole_leases(cut):
    whole = f"{LEASE_LINE}\n{SERVER_LINE}\n{LEASE_LINE_6}\n{LEASE_LINE_6.replace('::11', '::12')}\n"
    assert {lease.ip_address for lease in leases.parse(whole)} == {"1.1.1.11", "fd77:1::11", "fd77:1::12"}
    assert set(leases.parse(whole[:cut])) <= set(leases.parse(whole))


@given(st.text(max_size=100))
def test_any_file_is_survived(text):
    leases.parse(text)
    leases.server_duid(text)
    assert leases.keep(text, lambda lease: True).split() == text.split()


def test_the_servers_duid():
    assert leases.server_duid(f"{LEASE_LINE}\n{SERVER_LINE}\n") == SERVER_LINE.split()[1]
    assert leases.server_duid(f"{LEASE_LINE}\n") is None
    assert leases.server_duid("duid x\n") is None


def test_pruning_keeps_what_is_wanted_and_what_is_no_lease():
    text = f"{LEASE_LINE}\n{SERVER_LINE}\n{LEASE_LINE_6}\n"
    assert leases.keep(text, lambda lease: lease.ip_address == "1.1.1.11") == f"{LEASE_LINE}\n{SERVER_LINE}\n"
    assert leases.keep(text, lambda lease: True) == text


def test_table():
    table = LeaseTable([(MAC, "1.1.1.11")])
    assert table.holds(MAC, "1.1.1.11")
    table.released(MAC_2, "1.1.1.11")
    assert table.holder("1.1.1.11") == MAC
    table.acknowledged(MAC_2, "1.1.1.11")
    assert table.holder("1.1.1.11") == MAC_2
    table.released(MAC_2, "1.1.1.11")
    assert len(table) == 0


# -- RELEASE -------------------------------------------------------------------------------------------------------


def options(data: bytes) -> dict[int, bytes]:
    """RFC 8415, section 21.1."""
    found: dict[int, bytes] = {}
    while data:
        code, length = struct.unpack_from("!HH", data)
        assert len(data) >= 4 + length
        found[code] = data[4 : 4 + length]
        data = data[4 + length :]
    return found


DUIDS = st.binary(min_size=3, max_size=130).map(lambda data: data.hex(":"))


@given(DUIDS, DUIDS, st.integers(0, 0xFFFFFFFF), st.ip_addresses(v=6), st.booleans(), st.integers(0, 0xFFFFFF))
def test_release_message(client, server, iaid, address, temporary, transaction):
    lease = Lease6(0, client, iaid, str(address), temporary)
    packet = release6.encode(lease, server, transaction)
    assert packet[:4] == bytes([8]) + transaction.to_bytes(3)
    found = options(packet[4:])
    assert found.keys() == {1, 2, 8, 4 if temporary else 3}
    assert found[1].hex(":") == client
    assert found[2].hex(":") == server
    association = found[4 if temporary else 3]
    assert association[:4] == iaid.to_bytes(4)
    (inner,) = options(association[4 if temporary else 12 :]).values()
    assert IPv6Address(inner[:16]) == address
    assert inner[16:] == bytes(8)
    assert leases.parse_line(f"0 {'T' * temporary}{iaid} {address} * {client}") == lease


# -- who has which lease -------------------------------------------------------------------------------------------


@pytest.fixture
def keeper(tmp_path: Path) -> LeaseKeeper:
    return LeaseKeeper(tmp_path / "leases", mode=0o644)


def test_at_a_start_only_leases_of_reservations_are_kept(keeper, tmp_path):
    path = tmp_path / "leases"
    of_another = LEASE_LINE_6.replace("::11", "::12").replace(DUID, DUID_2)
    unknown = LEASE_LINE_6.replace("::11", "::13").replace(DUID, DUID_UUID)
    path.write_text("".join(f"{line}\n" for line in (LEASE_LINE, SERVER_LINE, LEASE_LINE_6, of_another, unknown)))
    owners = {"1.1.1.11": MAC, "fd77:1::11": MAC, "fd77:1::12": MAC, "fd77:1::13": MAC}
    keeper.prune(owners.get)
    assert path.read_text() == f"{LEASE_LINE}\n{SERVER_LINE}\n{LEASE_LINE_6}\n"
    assert len(keeper) == 2
    keeper.prune({"fd77:1::11": MAC_2}.get)
    assert path.read_text() == f"{SERVER_LINE}\n"


def test_a_lease_whose_giving_was_seen_is_known_whatever_its_duid(keeper, tmp_path):
    line = LEASE_LINE_6.replace(DUID, DUID_UUID)
    (tmp_path / "leases").write_text(f"{line}\n")
    keeper.follow(Exchange("DHCPREPLY", "", "fd77:1::11", "", DUID_UUID), {"fd77:1::11": MAC}.get)
    keeper.prune({"fd77:1::11": MAC}.get)
    assert (tmp_path / "leases").read_text() == f"{line}\n"
    keeper.prune({"fd77:1::11": MAC_2}.get)
    assert (tmp_path / "leases").read_text() == ""


def test_what_is_no_lease_is_not_taken_for_one(keeper):
    owner = {"fd77:1::11": MAC, "1.1.1.11": MAC}.get
    for exchange in (
        Exchange("DHCPADVERTISE", MAC, "fd77:1::11", "", DUID),
        Exchange("DHCPREPLY", MAC, "fd77:1::11", "lease not found", DUID),
        Exchange("DHCPREPLY", MAC, "fd77:1::99", "", DUID),  # reserved for nobody any more
        Exchange("DHCPOFFER", MAC, "1.1.1.11", ""),
        Exchange("RTR-SOLICIT", MAC, None, ""),
    ):
        keeper.follow(exchange, owner)
    assert len(keeper) == 0
    keeper.follow(Exchange("DHCPACK", MAC, "1.1.1.11", ""), owner)
    assert len(keeper) == 1
    keeper.follow(Exchange("DHCPRELEASE", MAC, "1.1.1.11", ""), owner)
    assert len(keeper) == 0


async def test_nothing_is_sent_for_what_is_not_held(keeper):
    async def barrier() -> None:
        raise AssertionError("nothing to wait for")

    await keeper.release([(MAC, "fd77:1::11"), (MAC, "1.1.1.11")])
    await keeper.ensure_released({"fd77:1::11": MAC_2}, barrier)
