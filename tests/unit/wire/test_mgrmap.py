"""Manager maps: with and without a manager, a real one's catalogue of modules skipped, damage."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.address import EntityAddr, encode_addrvec
from cove.wire.encoding import Encoder
from cove.wire.errors import PeerError
from cove.wire.mgrmap import MgrMap, decode_mgrmap, encode_mgrmap

from .map_samples import ADDRVECS, refuses_every_cut
from .strategies import TEXT, unsigned

ADDR = EntityAddr.parse("v2:10.0.0.1:6800/77")
ACTIVE = MgrMap(epoch=7, active_addrs=(ADDR,), active_gid=4112, available=True, active_name="x")


def test_without_a_manager() -> None:
    data = encode_mgrmap(MgrMap())
    assert len(data) == 76
    assert data.hex().startswith("0c0646000000" + "01000000" + "0200000000" + "00" * 9)
    assert decode_mgrmap(data) == MgrMap()
    assert MgrMap().address is None


@given(
    st.builds(
        MgrMap,
        epoch=unsigned(32),
        active_addrs=ADDRVECS,
        active_gid=unsigned(64),
        available=st.booleans(),
        active_name=TEXT,
        standbys=st.just({}),
    )
)
def test_every_map_comes_back(mgrmap: MgrMap) -> None:
    assert decode_mgrmap(encode_mgrmap(mgrmap)) == mgrmap


def test_a_manager_that_is_not_ready_has_no_address() -> None:
    assert ACTIVE.address == ADDR
    assert replace(ACTIVE, available=False).address is None


def with_standbys(version: int) -> bytes:
    encoder = Encoder()
    with encoder.versioned(version, 6 if version >= 6 else 2):
        encoder.u32(9)
        encode_addrvec(encoder, (ADDR,))
        encoder.u64(5)
        encoder.bool(True)
        encoder.str("x")
        encoder.u32(2)
        for number, name in ((6, "y"), (8, "z")):
            encoder.u64(number)
            with encoder.versioned(4, 1):
                encoder.u64(number)
                encoder.str(name)
                encoder.raw(b"modules")
        encoder.raw(b"and all the rest")
    return encoder.bytes()


def test_what_a_client_has_no_use_for_is_skipped() -> None:
    for version in (6, 13, 14):
        mgrmap = decode_mgrmap(with_standbys(version))
        assert mgrmap.standbys == {6: "y", 8: "z"}
        assert (mgrmap.epoch, mgrmap.active_name, mgrmap.address) == (9, "x", ADDR)
    with pytest.raises(PeerError, match="version 5; 6 is the oldest"):
        decode_mgrmap(with_standbys(5))


def test_what_is_cut_short_is_refused() -> None:
    refuses_every_cut(decode_mgrmap, encode_mgrmap(ACTIVE))
