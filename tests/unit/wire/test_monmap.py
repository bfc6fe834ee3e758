# mypy: allow-untyped-calls
"""Monitor maps: every layout, what releases have encoded, ranks and addresses, damage."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.address import EntityAddr, encode_addr
from cove.wire.encoding import Encoder
from cove.wire.errors import PeerError
from cove.wire.monmap import MonCiphers, MonInfo, MonMap, decode_monmap, encode_monmap

from .map_samples import A_FSID, ADDRVECS, STRINGS, VECTORS, a_set, refuses_every_cut, samples, with_vectors
from .strategies import TEXT, TIMES, signed, unsigned

V1 = EntityAddr.parse("v1:10.0.0.1:6789/0")
V2 = EntityAddr.parse("v2:10.0.0.1:3300/0")
OTHER = EntityAddr.parse("v2:[fd00::2]:3300/0")
INFOS = {"a": MonInfo("a", (V2, V1)), "b": MonInfo("b", (OTHER,)), "old": MonInfo("old", (V1,))}
MONMAP = MonMap(fsid=A_FSID, epoch=4, mon_info=INFOS, ranks=("b", "old", "a"), min_mon_release=16)


@pytest.mark.parametrize(("data", "level"), samples("MonMap"))
def test_the_bytes_of_releases_come_back(data: bytes, level: int) -> None:
    assert encode_monmap(decode_monmap(data)) == data


@with_vectors
def test_the_map_in_a_message() -> None:
    data = (VECTORS / "messages" / "MMonMap-01.bin").read_bytes()[4:]
    monmap = decode_monmap(data)
    ((name, rank, addr),) = monmap.addresses()
    assert (name, rank, str(addr).rpartition(":")[0]) == ("a", 0, "v2:127.0.0.1")
    assert encode_monmap(monmap) == data


@st.composite
def monmaps(draw: st.DrawFn) -> MonMap:
    has_times = draw(st.booleans())
    infos = draw(
        st.dictionaries(
            TEXT,
            st.builds(MonInfo, TEXT, ADDRVECS, unsigned(16), unsigned(16), STRINGS, TIMES if has_times else st.none()),
            max_size=3,
        )
    )
    return MonMap(
        fsid=draw(st.uuids()),
        epoch=draw(unsigned(32)),
        last_changed_ns=draw(TIMES),
        created_ns=draw(TIMES),
        persistent_features=draw(unsigned(64)),
        optional_features=draw(unsigned(64)),
        mon_info=infos,
        ranks=tuple(draw(st.permutations(sorted(infos)))),
        min_mon_release=draw(unsigned(8)),
        removed_ranks=draw(a_set(unsigned(32))),
        strategy=draw(unsigned(8)),
        disallowed_leaders=draw(a_set(TEXT, lambda text: text.encode("utf-8", "surrogateescape"))),
        stretch_mode_enabled=draw(st.booleans()),
        tiebreaker_mon=draw(TEXT),
        stretch_marked_down_mons=draw(a_set(TEXT, lambda text: text.encode("utf-8", "surrogateescape"))),
        ciphers=draw(st.none() | st.builds(MonCiphers, unsigned(32), signed(32), a_set(signed(32)), signed(32))),
    )


@given(monmaps())
def test_every_map_comes_back(monmap: MonMap) -> None:
    data = encode_monmap(monmap)
    assert data[0] == (9 if monmap.ciphers is None else 10)
    assert decode_monmap(data) == monmap


def test_ranks_and_addresses() -> None:
    assert MONMAP.addresses() == [("b", 0, OTHER), ("a", 2, V2)], "one that speaks only msgr1 is left out"
    assert [MONMAP.rank_of(name) for name in ("b", "old", "a", "c")] == [0, 1, 2, -1]


def test_ciphers() -> None:
    assert decode_monmap(encode_monmap(MONMAP)).ciphers is None
    assert MonCiphers() == MonCiphers(0, 1, (1, 2), 1)
    monmap = replace(MONMAP, ciphers=MonCiphers(3, 2, (2,), 2))
    assert decode_monmap(encode_monmap(monmap)).ciphers == MonCiphers(3, 2, (2,), 2)


def older(version: int) -> bytes:
    """The map as a release before Octopus wrote it, with mon_info of version 2."""
    encoder = Encoder()
    with encoder.versioned(version, 3 if version == 5 else 6):
        encoder.raw(A_FSID.bytes)
        encoder.u32(4)
        if version == 5:
            encoder.map({"a": V2, "z": V1}, encoder.str, lambda addr: encode_addr(encoder, addr))
        for _ in range(2):
            encoder.utime(0)
        for _ in range(2):
            with encoder.versioned(1, 1):
                encoder.u64(0)
        encoder.u32(2)
        for name, addr in (("a", OTHER), ("z", V1)):
            encoder.str(name)
            with encoder.versioned(2, 1):
                encoder.str(name)
                encode_addr(encoder, addr)
                encoder.u16(7)
        if version >= 6:
            encoder.list(["a", "z"], encoder.str)
        if version >= 7:
            encoder.u8(14)
    return encoder.bytes()


def test_older_layouts() -> None:
    five = decode_monmap(older(5))
    assert five.ranks == ("z", "a"), "ranks are the order of the addresses"
    assert five.mon_info["a"] == MonInfo("a", (OTHER,), priority=7)
    assert five.min_mon_release == 0
    assert decode_monmap(older(6)).ranks == ("a", "z")
    assert decode_monmap(older(7)).min_mon_release == 14


def test_ancient_layouts_are_refused() -> None:
    for first in (b"\x02\x00", b"\x04\x03"):
        with pytest.raises(PeerError, match="5 is the oldest"):
            decode_monmap(first + bytes(100))


def test_ranks_must_be_those_of_its_monitors() -> None:
    for ranks in (("a", "x"), ("a", "a")):
        with pytest.raises(PeerError, match="ranks"):
            decode_monmap(encode_monmap(replace(MONMAP, ranks=ranks)))


def test_what_is_cut_short_is_refused() -> None:
    refuses_every_cut(decode_monmap, encode_monmap(replace(MONMAP, ciphers=MonCiphers())))
