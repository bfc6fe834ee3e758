"""Monitors by DNS: the codec, and lookups at a name server on the loopback."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.rados import InvalidArgument
from cove.rados.dns_message import Answer, decode_response, encode_name, encode_query
from cove.rados.dns_srv import DnsConf, monitors_by_dns
from cove.rados.monhunt import Monitor
from cove.wire.errors import PeerError, UsageError

from .dns_server import AAAA, CNAME, SRV, A, name_server, record, response

LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=20)
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
U16 = st.integers(0, 65535)
RECORDS = st.one_of(
    st.builds(Answer, HOSTS, st.just(int(SRV)), HOSTS, U16, U16, U16),
    st.builds(lambda name, ip: Answer(name, A, ip), HOSTS, st.ip_addresses(v=4).map(str)),
    st.builds(lambda name, ip: Answer(name, AAAA, ip), HOSTS, st.ip_addresses(v=6).map(str)),
    st.builds(lambda name, alias: Answer(name, CNAME, alias), HOSTS, HOSTS),
)


@given(U16, HOSTS, st.lists(RECORDS, max_size=4))
def test_answers_come_back_and_cut_ones_are_refused(number: int, name: str, records: list[Answer]) -> None:
    data = response(encode_query(number, name, SRV), records)
    found = decode_response(data, number, name.upper() + ".", SRV)
    assert found == (0, False, tuple(records))
    for length in range(len(data)):
        with pytest.raises(PeerError):
            decode_response(data[:length], number, name, SRV)
    for other in ((number ^ 1, name, SRV), (number, name + "x", SRV), (number, name, A)):
        with pytest.raises(PeerError):
            decode_response(data, *other)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_refused(data: bytes) -> None:
    head = struct.pack(">6H", 7, 0x8180, 1, 3, 0, 0) + encode_name("a.b") + struct.pack(">HH", SRV, 1)
    for text in (data, head + data):
        try:
            decode_response(text, 7, "a.b", SRV)
        except PeerError:
            pass


def test_compressed_names() -> None:
    query = encode_query(7, "_ceph-mon._tcp.example.com", SRV)
    data = response(query, [])
    example = data.index(b"\7example")
    pointer = struct.pack(">H", 0xC000 | example)
    body = struct.pack(">3H", 10, 20, 3300) + b"\1a" + pointer
    header = data[:6] + struct.pack(">H", 1) + data[8:]
    answer = header + struct.pack(">H", 0xC00C) + struct.pack(">HHIH", SRV, 1, 60, len(body)) + body
    [found] = decode_response(answer, 7, "_ceph-mon._tcp.example.com", SRV).records
    assert found == Answer("_ceph-mon._tcp.example.com", SRV, "a.example.com", 10, 20, 3300)
    # a pointer to itself, and one that goes forward
    for target in (len(header), len(header) + 2):
        loop = header + struct.pack(">H", 0xC000 | target) + bytes(40)
        with pytest.raises(PeerError, match="pointers"):
            decode_response(loop, 7, "_ceph-mon._tcp.example.com", SRV)


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "a." * 130, "é" * 60])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UsageError, match="no name of a host"):
        encode_query(1, name, SRV)


def test_resolv_conf(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# x\ndomain old.example\nsearch a.example b.example.\nnameserver 1.1.1.1\nnameserver ::1\nnonsense\n"
    )
    conf = DnsConf.load(path)
    assert conf.servers == (("1.1.1.1", 53), ("::1", 53))
    assert conf.domains == ("a.example", "b.example")
    assert DnsConf.load(tmp_path / "none") == DnsConf()


def zone(name: str, kind: int, query: bytes) -> bytes | None:
    """Two monitors in example.com, one of them with its address beside it, and one that only speaks msgr1."""
    service = "_ceph-mon._tcp.example.com"
    if name == service and kind == SRV:
        return response(
            query,
            [
                Answer(service, SRV, "a.example.com", 10, 5, 3300),
                Answer(service, SRV, "b.example.com", 20, 7, 3301),
                Answer(service, SRV, "old.example.com", 0, 0, 6789),
            ],
            [Answer("A.example.com", A, "127.0.0.1")],
        )
    if name == "b.example.com":
        address = Answer("b2.example.com", kind, "127.0.0.2" if kind == A else "fd00::2")
        return response(query, [Answer(name, CNAME, "b2.example.com"), address])
    return response(query, [], rcode=3)


EXPECTED = [
    Monitor("v2:127.0.0.1:3300/0", "a", 10, 5),
    Monitor("v2:127.0.0.2:3301/0", "b", 20, 7),
    Monitor("v2:[fd00::2]:3301/0", "b", 20, 7),
]


async def test_monitors_of_a_domain() -> None:
    async with name_server(zone) as (server, conf):
        assert await monitors_by_dns("ceph-mon_example.com", "x", conf) == EXPECTED
        assert ("a.example.com", A) not in server.asked, "its address came with the answer"


async def test_monitors_of_the_search_domains() -> None:
    async with name_server(zone, domains=("none.example", "example.com")) as (server, conf):
        assert await monitors_by_dns("ceph-mon", "x", conf) == EXPECTED
        assert [name for name, kind in server.asked if kind == SRV] == [
            "_ceph-mon._tcp.none.example",
            "_ceph-mon._tcp.example.com",
        ]


async def test_no_monitors() -> None:
    async with name_server(zone, domains=("none.example",)) as (_, conf):
        with pytest.raises(
            InvalidArgument, match=r"no monitors are known: ceph\.conf.*_ceph-mon\._tcp\.none\.example: no such name"
        ):
            await monitors_by_dns("ceph-mon", "ceph.conf", conf)
        with pytest.raises(InvalidArgument, match="set `mon_host`"):
            await monitors_by_dns("", "ceph.conf", conf)
        with pytest.raises(InvalidArgument, match="no name of a host"):
            await monitors_by_dns("ceph-mon_a..b", "ceph.conf", conf)


async def test_a_long_answer_comes_by_tcp() -> None:
    tries: list[str] = []

    def script(name: str, kind: int, query: bytes) -> bytes | None:
        if kind == SRV and not tries:
            tries.append(name)
            return response(query, [], flags=0x8380)
        return zone(name, kind, query)

    async with name_server(script) as (_, conf):
        assert await monitors_by_dns("ceph-mon_example.com", "x", conf) == EXPECTED


async def test_servers_that_do_not_answer_are_passed_over() -> None:
    silent_conf = {"timeout_s": 0.05}
    async with name_server(lambda *_: None, **silent_conf) as (silent, conf):
        with pytest.raises(InvalidArgument, match=r"no answer of 127\.0\.0\.1 within 0\.05 s"):
            await monitors_by_dns("ceph-mon_example.com", "x", conf)
        async with name_server(zone) as (_, good):
            both = DnsConf(conf.servers + good.servers, timeout_s=0.2, attempts=1)
            assert await monitors_by_dns("ceph-mon_example.com", "x", both) == EXPECTED
            assert silent.asked
    async with name_server(lambda name, kind, query: response(query, [], rcode=2)) as (_, failing):
        with pytest.raises(InvalidArgument, match="answers with error 2"):
            await monitors_by_dns("ceph-mon_example.com", "x", failing)
    with pytest.raises(InvalidArgument, match=r"127\.0\.0\.1: "):  # nobody listens
        await monitors_by_dns("ceph-mon_example.com", "x", DnsConf(failing.servers, timeout_s=5.0, attempts=1))


def test_long_chains_of_pointers_are_refused() -> None:
    head = struct.pack(">6H", 7, 0x8180, 1, 1, 0, 0) + encode_name("a.b") + struct.pack(">HH", SRV, 1)
    # each pointer leads to the one before it, the first one to the end of a name
    base = len(head) + 11
    chain = b"\0x" + b"".join(struct.pack(">H", 0xC000 | (base + 2 * max(at - 1, 0))) for at in range(1, 4000))
    record = b"\0" + struct.pack(">HHIH", 999, 1, 0, len(chain)) + chain
    last = struct.pack(">H", 0xC000 | (base + 2 * 3999)) + struct.pack(">HHIH", 999, 1, 0, 0)
    two_records = head[:6] + struct.pack(">H", 2) + head[8:]
    with pytest.raises(PeerError, match="pointers"):
        decode_response(two_records + record + last, 7, "a.b", SRV)


async def test_addresses_of_others_in_an_answer_are_no_monitors() -> None:
    """Name servers add their own addresses to their answers, and may add other services."""

    def script(name: str, kind: int, query: bytes) -> bytes | None:
        answer = zone(name, kind, query)
        if answer is None or answer[3] & 0xF:
            return answer
        extra = [
            Answer("ns1.example.com", A, "127.9.9.9"),
            Answer("ns1.example.com", AAAA, "fd00::9"),
            Answer("_sip._tcp.example.com", SRV, "ns1.example.com", 1, 1, 5060),
        ]
        return answer[:10] + struct.pack(">H", answer[11] + len(extra)) + answer[12:] + b"".join(map(record, extra))

    async with name_server(script) as (_, conf):
        assert await monitors_by_dns("ceph-mon_example.com", "x", conf) == EXPECTED


async def test_aliases_that_lead_nowhere_come_to_an_end() -> None:
    def script(name: str, kind: int, query: bytes) -> bytes | None:
        if name == "b.example.com":
            return response(query, [Answer(name, CNAME, "c.example.com"), Answer("c.example.com", CNAME, name)])
        return zone(name, kind, query)

    async with name_server(script) as (_, conf):
        assert await monitors_by_dns("ceph-mon_example.com", "x", conf) == EXPECTED[:1]


async def test_name_servers_that_are_no_addresses_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(f"nameserver {'a' * 70}\nnameserver fe80::1%lo\nnameserver 1.1.1.1\n")
    assert DnsConf.load(path).servers == (("fe80::1%lo", 53), ("1.1.1.1", 53))


async def test_only_the_server_that_was_asked_is_heard() -> None:
    """An answer with the right number, from another address."""
    clients: list[tuple[str, int]] = []

    def script(name: str, kind: int, query: bytes) -> bytes | None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(response(query, [Answer(name, A, "127.6.6.6")]), clients[-1])
        return zone(name, kind, query)

    async with name_server(script) as (server, conf):
        clients = server.clients
        assert await monitors_by_dns("ceph-mon_example.com", "x", conf) == EXPECTED
        assert clients
