# mypy: allow-untyped-calls
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire.cephx import structures
from cove.wire.cephx.keys import CryptoKey, KeyType
from cove.wire.cephx.structures import (
    ENTITY_NAME,
    STRUCTURES,
    AuthCapsInfo,
    Authenticate,
    Authorize,
    AuthorizeReply,
    AuthTicket,
    ExpiringKey,
    RotatingSecrets,
    ServiceTicket,
    ServiceTicketInfo,
    TicketBlob,
)
from cove.wire.encoding import Decoder, Encoder
from cove.wire.errors import PeerError

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "ceph"
GOLDEN = sorted(path for pattern in ("*/CephX*", "*/EntityName") for path in VECTORS.glob(pattern))

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
TIMES = st.integers(0, 2**32 * 10**9 - 1)
NAMES = st.tuples(st.sampled_from(["client", "osd", "mon", "mgr"]), st.text(max_size=8)).map(".".join)
KEYS = st.one_of(
    st.builds(CryptoKey, st.just(KeyType.AES), st.binary(min_size=16, max_size=20), TIMES),
    st.builds(CryptoKey, st.just(KeyType.AES256K), st.binary(min_size=32, max_size=40), TIMES),
)
BLOBS = st.builds(TicketBlob, U64, st.binary(max_size=30))
TICKETS = st.builds(AuthTicket, NAMES, U64, TIMES, TIMES, st.builds(AuthCapsInfo.of, st.text(max_size=9)), U32, U64)
VALUES = {
    "RequestHeader": st.builds(structures.RequestHeader, st.integers(0, 2**16 - 1)),
    "ResponseHeader": st.builds(structures.ResponseHeader, st.integers(0, 2**16 - 1), st.integers(-(2**31), 2**31 - 1)),
    "ServerChallenge": st.builds(structures.ServerChallenge, U64),
    "ChallengeBlob": st.builds(structures.ChallengeBlob, U64, U64),
    "TicketBlob": BLOBS,
    "Authenticate": st.builds(Authenticate, U64, U64, BLOBS, U32, st.just(3)),
    "ServiceTicket": st.builds(ServiceTicket, KEYS, TIMES),
    "ServiceTicketInfo": st.builds(ServiceTicketInfo, TICKETS, KEYS),
    "AuthTicket": TICKETS,
    "AuthCapsInfo": st.builds(AuthCapsInfo, st.booleans(), st.binary(max_size=9)),
    "ServiceTicketRequest": st.builds(structures.ServiceTicketRequest, U32),
    "Authorize": st.builds(Authorize, U64, st.booleans(), U64),
    "AuthorizeChallenge": st.builds(structures.AuthorizeChallenge, U64),
    "AuthorizeReply": st.builds(AuthorizeReply, U64, st.binary(max_size=64)),
    "ExpiringKey": st.builds(ExpiringKey, KEYS, TIMES),
    "RotatingSecrets": st.builds(
        RotatingSecrets, st.dictionaries(U64, st.builds(ExpiringKey, KEYS, TIMES), max_size=3), U64
    ),
}


@pytest.mark.skipif(not GOLDEN, reason="the captured structures are not here")
@pytest.mark.parametrize("folder", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_captured_structures_come_back_as_they_were(folder):
    files = list(folder.iterdir())
    assert files
    for path in files:
        data = path.read_bytes()
        decoder, encoder = Decoder(data), Encoder()
        if folder.name == "EntityName":
            ENTITY_NAME.encode(encoder, ENTITY_NAME.decode(decoder))
        else:
            getattr(structures, folder.name.removeprefix("CephX")).decode(decoder).encode(encoder)
        assert decoder.remaining == 0
        assert encoder.bytes() == data


def test_every_structure_is_tried():
    assert set(VALUES) == {cls.__name__ for cls in STRUCTURES}


@pytest.mark.parametrize("cls", STRUCTURES, ids=lambda cls: cls.__name__)
def test_round_trip_and_truncation(cls):
    @given(VALUES[cls.__name__])
    def check(value):
        data = value.to_bytes()
        assert cls.from_bytes(data) == value
        for length in range(len(data)):
            with pytest.raises(PeerError):
                cls.from_bytes(data[:length])

    check()


@pytest.mark.parametrize("cls", STRUCTURES, ids=lambda cls: cls.__name__)
def test_any_bytes_give_a_value_or_a_peer_error(cls):
    @given(st.binary(max_size=80))
    def check(data):
        try:
            cls.from_bytes(data)
        except PeerError:
            pass

    check()


def test_older_versions():
    ticket = TicketBlob(1, b"x")
    whole = Authenticate(1, 2, ticket, 0x35).to_bytes()
    old = Authenticate.from_bytes(b"\1" + whole[1:-4])
    assert (old.version, old.other_keys, old.old_ticket) == (1, 0, ticket)
    assert old.to_bytes() == b"\1" + whole[1:-4]
    assert Authorize.from_bytes(b"\1" + bytes(7) + b"\2") == Authorize(0x0200000000000000)
    assert AuthorizeReply(5).to_bytes()[0] == 1
    assert AuthorizeReply(5, b"s").to_bytes()[0] == 2


def test_caps_have_two_lengths():
    info = AuthCapsInfo.of("allow *")
    assert info.to_bytes().hex() == "01000b00000007000000616c6c6f77202a"
    assert info.text() == "allow *"
    assert AuthCapsInfo.of("").to_bytes() == b"\1\0\0\0\0\0"
    assert AuthCapsInfo().text() == ""


def test_an_entity_is_its_type_and_its_id():
    assert ENTITY_NAME.pack("client.a.b").hex() == "0800000003000000612e62"
    with pytest.raises(PeerError, match="type 3"):
        ENTITY_NAME.unpack(bytes.fromhex("0300000000000000"))
