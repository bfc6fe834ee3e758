"""The handshake's two ends against each other, and against peers that break its rules."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.wire import control
from cove.wire.address import BLANK, AddrType, EntityAddr
from cove.wire.auth import AuthError, AuthMethod, AuthSecrets, NoneClientAuth
from cove.wire.errors import PeerError, UsageError
from cove.wire.features import CLIENT_REQUIRED, CRUSH_MSR, MSG_ADDR2, OSDREPLYMUX, SUPPORTED, has
from cove.wire.frames import CONTROL_BYTES_MAX, FrameReader, FrameWriter, Tag
from cove.wire.handshake import BANNER, FRAMES_MAX, TRANSITIONS, Handshake, Role, State
from cove.wire.handshake_acceptor import AcceptorHandshake
from cove.wire.handshake_connector import ConnectorHandshake
from cove.wire.link import Link, LinkReady
from cove.wire.session import LOSSY_CLIENT, STATELESS_SERVER, Session
from cove.wire.types import EntityName, EntityType

from .links import (
    BLANK_CLIENT,
    CLIENT,
    CRC,
    MON,
    SECRETS,
    SECURE,
    SEEN_CLIENT,
    Ends,
    NoneServerAuth,
    RoundsClientAuth,
    RoundsServerAuth,
    random_source,
)

STEPS = pytest.mark.parametrize("step", [1 << 30, 1, 5])


def connector(**arguments: object) -> Link:
    values: dict = {
        "session": Session(LOSSY_CLIENT, (CLIENT,)),
        "peer_type": EntityType.MON,
        "target": MON,
        "my_type": EntityType.CLIENT,
        "auths": [NoneClientAuth("client.admin", EntityType.MON)],
        "random_bytes": random_source(b"c"),
    }
    link = Link.connector(**(values | arguments))
    link.start()
    return link


def acceptor(**arguments: object) -> Link:
    return Ends(**arguments).server  # type: ignore[arg-type]


def frame(payload: control.Control) -> bytes:
    return b"".join(FrameWriter().frame(payload.TAG, [payload.to_bytes()]))


def frames_in(data: bytes) -> list[control.Control]:
    """What a banner and frames in crc mode hold."""
    reader = FrameReader()
    reader.feed(data.removeprefix(BANNER))
    found = []
    while (item := reader.next_frame()) is not None:
        found.append(control.decode_control(item.tag, item.segments[0]))
    return found


def said(link: Link) -> list[control.Control]:
    return frames_in(b"".join(link.take_output()))


# --- that it works ---------------------------------------------------------------------------------------------------


@STEPS
@pytest.mark.parametrize("method", ["none", "crc", "secure", "many rounds"])
def test_both_ends_get_ready(method: str, step: int) -> None:
    if method == "none":
        ends = Ends(step=step)
    else:
        modes = (CRC,) if method == "crc" else (SECURE, CRC)
        rounds = 10 if method == "many rounds" else 1
        ends = Ends(client_auths=[RoundsClientAuth(modes)], server_auth=RoundsServerAuth(rounds=rounds), step=step)
    ends.run()
    client, server = ends.client, ends.server
    assert ends.client_events == ends.server_events == [LinkReady(resumed=False)]
    assert client.is_ready
    assert server.is_ready
    assert client.mode == server.mode == (CRC if method in ("none", "crc") else SECURE)
    assert client.global_id == server.global_id == 4113
    assert client.features == server.features == SUPPORTED
    assert client.peer_name == EntityName(EntityType.MON, 0)
    assert client.peer_addrs == (MON,)
    assert server.peer_name == EntityName(EntityType.CLIENT, 4113)
    assert server.peer_addrs == (CLIENT,)
    assert server.entity == "client.admin"
    assert server.caps == (b"" if method == "none" else b"allow *")
    assert client.entity == ""


def test_sizes_are_those_of_real_daemons() -> None:
    ends = Ends().run()
    # banner, HELLO, AUTH_REQUEST with method none, AUTH_SIGNATURE, CLIENT_IDENT
    assert len(ends.client_sent) == 26 + 72 + (32 + 4 + 8 + 4 + 22 + 4) + 68 + (32 + 123 + 4)
    assert len(ends.server_sent) == 26 + 72 + (32 + 16 + 4) + 68 + (32 + 88 + 4)


def test_modes_are_the_connectors_choice_among_those_allowed() -> None:
    prefers_crc = Ends(
        client_auths=[RoundsClientAuth((CRC, SECURE))], server_auth=RoundsServerAuth((SECURE, CRC))
    ).run()
    assert prefers_crc.client.mode is CRC
    only_secure = Ends(client_auths=[RoundsClientAuth((CRC, SECURE))], server_auth=RoundsServerAuth((SECURE,))).run()
    assert only_secure.client.mode is SECURE


@pytest.mark.parametrize(
    ("claims", "entity", "is_let_in"),
    [
        (EntityType.OSD, "osd.3", True),
        (EntityType.CLIENT, "osd.3", True),
        (EntityType.OSD, "client.admin", False),
        (EntityType.MON, "osd.3", False),
    ],
)
def test_who_says_to_be_a_daemon_is_one(claims: EntityType, entity: str, is_let_in: bool) -> None:
    ends = Ends(my_type=claims, client_auths=[NoneClientAuth(entity, EntityType.MON)])
    if is_let_in:
        ends.run()
        assert ends.server.is_ready
    else:
        with pytest.raises(AuthError):
            ends.run()
        assert not ends.server.is_ready


def test_method_none_can_only_do_crc() -> None:
    auth = NoneClientAuth("client.admin", EntityType.MON)
    auth.modes = (SECURE,)
    with pytest.raises(AuthError, match=r"EOPNOTSUPP|ENOTSUP"):
        Ends(client_auths=[auth]).run()


def test_secure_mode_hides_the_idents() -> None:
    ends = Ends(client_auths=[RoundsClientAuth()], server_auth=RoundsServerAuth()).run()
    assert CLIENT.sockaddr + b"\x01" not in ends.client_sent[200:]
    assert SECRETS.session_key not in ends.client_sent + ends.server_sent


def test_own_address_is_learnt_from_hello() -> None:
    session = Session(LOSSY_CLIENT, (BLANK_CLIENT,))
    ends = Ends(session=session).run()
    assert session.my_addrs == (CLIENT,)
    assert ends.server.peer_addrs == (CLIENT,)


def test_own_ipv6_address_is_learnt_too() -> None:
    session = Session(LOSSY_CLIENT, (BLANK_CLIENT,))
    link = connector(session=session)
    link.receive(BANNER + frame(control.Hello(EntityType.MON, EntityAddr.of("fe80::1", 50000))))
    assert [str(addr) for addr in session.my_addrs] == ["any:[fe80::1]:0/4242"]


def test_a_peer_that_does_not_tell_our_address_is_refused_only_if_we_need_it() -> None:
    hello = BANNER + frame(control.Hello(EntityType.MON, BLANK))
    with pytest.raises(PeerError, match="which address we have"):
        connector(session=Session(LOSSY_CLIENT, (BLANK_CLIENT,))).receive(hello)
    assert connector().receive(hello) == []


def test_number_of_a_client_is_what_it_authenticated_as() -> None:
    session = Session(LOSSY_CLIENT, (CLIENT,), gid=999)
    assert Ends(session=session).run().server.peer_name.number == 4113


def test_a_session_needs_an_address_and_a_method() -> None:
    with pytest.raises(UsageError, match="address"):
        connector(session=Session(LOSSY_CLIENT, ()))
    with pytest.raises(UsageError, match="no method"):
        connector(auths=[])


# --- the table -------------------------------------------------------------------------------------------------------


def test_table_is_sound() -> None:
    ends: dict[Role, type[Handshake]] = {Role.CONNECTOR: ConnectorHandshake, Role.ACCEPTOR: AcceptorHandshake}
    seen = set()
    for row in TRANSITIONS:
        assert (row.role, row.state, row.tag) not in seen
        seen.add((row.role, row.state, row.tag))
        assert callable(getattr(ends[row.role], row.handler))
    for role in Role:
        rows = [row for row in TRANSITIONS if row.role is role]
        reached = {State.HELLO} | {state for row in rows for state in row.leads_to}
        assert {row.state for row in rows} <= reached
        assert State.READY in reached


def at_state(role: Role, state: State) -> Link:
    """A link that has got as far as that."""
    if role is Role.CONNECTOR and state is State.RECONNECT:
        session = Session(LOSSY_CLIENT._replace(lossy=False), (CLIENT,))
        session.client_cookie, session.server_cookie = 1, 2
        ends = Ends(session=session)
    else:
        ends = Ends(client_auths=[RoundsClientAuth((CRC,))], server_auth=RoundsServerAuth(), step=1)
    link = ends.client if role is Role.CONNECTOR else ends.server
    for _ in range(2000):
        if link.state is state:
            link.take_output()
            return link
        to_server, to_client = ends.client_output(), ends.server_output()
        for byte in to_server:
            ends.server.receive(bytes((byte,)))
            if link.state is state:
                return link
        for byte in to_client:
            ends.client.receive(bytes((byte,)))
            if link.state is state:
                return link
    raise AssertionError(f"{state} is never reached")


ROWS = {(row.role, row.state, row.tag) for row in TRANSITIONS}
STATES = sorted({(row.role, row.state) for row in TRANSITIONS}, key=str)
SAMPLES: dict[Tag, control.Control] = {
    Tag.HELLO: control.Hello(1, MON),
    Tag.AUTH_REQUEST: control.AuthRequest(2, [1], b""),
    Tag.AUTH_BAD_METHOD: control.AuthBadMethod(2, -13, [2], [1]),
    Tag.AUTH_REPLY_MORE: control.AuthReplyMore(b""),
    Tag.AUTH_REQUEST_MORE: control.AuthRequestMore(b""),
    Tag.AUTH_DONE: control.AuthDone(1, 1, b""),
    Tag.AUTH_SIGNATURE: control.AuthSignature(bytes(32)),
    Tag.CLIENT_IDENT: control.ClientIdent((CLIENT,), MON, 1, 1, SUPPORTED, 0, 1, 0),
    Tag.SERVER_IDENT: control.ServerIdent((MON,), 1, 1, SUPPORTED, 0, 1, 0),
    Tag.IDENT_MISSING_FEATURES: control.IdentMissingFeatures(1),
    Tag.SESSION_RECONNECT: control.SessionReconnect((CLIENT,), 1, 2, 3, 4, 5),
    Tag.SESSION_RESET: control.SessionReset(True),
    Tag.SESSION_RETRY: control.SessionRetry(1),
    Tag.SESSION_RETRY_GLOBAL: control.SessionRetryGlobal(1),
    Tag.SESSION_RECONNECT_OK: control.SessionReconnectOk(1),
    Tag.WAIT: control.Wait(),
    Tag.KEEPALIVE2: control.Keepalive2(1),
    Tag.KEEPALIVE2_ACK: control.Keepalive2Ack(1),
    Tag.ACK: control.Ack(1),
    Tag.COMPRESSION_REQUEST: control.CompressionRequest(True, [1]),
    Tag.COMPRESSION_DONE: control.CompressionDone(True, 1),
}


@pytest.mark.parametrize(("role", "state"), STATES, ids=lambda value: value.value)
def test_whatever_is_not_in_the_table_is_a_fault(role: Role, state: State) -> None:
    for tag in Tag:
        if (role, state, tag) in ROWS:
            continue
        link = at_state(role, state)
        data = b"".join(FrameWriter().frame(Tag.MESSAGE, [bytes(41)])) if tag is Tag.MESSAGE else frame(SAMPLES[tag])
        named = (
            "before the session is ready"
            if tag is Tag.MESSAGE
            else f"{tag.name} in state {state.value} of the {role.value}"
        )
        with pytest.raises(PeerError, match=named):
            link.receive(data)
        with pytest.raises(PeerError, match="failed before"):
            link.receive(b"")


@pytest.mark.parametrize(
    "tag", [tag for tag in Tag if tag not in (Tag.MESSAGE, Tag.KEEPALIVE2, Tag.KEEPALIVE2_ACK, Tag.ACK)]
)
def test_no_part_of_the_handshake_may_come_again_when_ready(tag: Tag) -> None:
    for link in (Ends().run().client, Ends().run().server):
        with pytest.raises(PeerError, match=f"{tag.name} in state ready"):
            link.receive(frame(SAMPLES[tag]))
        assert not link.is_ready


# --- banner and HELLO ------------------------------------------------------------------------------------------------


def banner(supported: int, required: int, tail: bytes = b"", length: int | None = None) -> bytes:
    payload = struct.pack("<QQ", supported, required) + tail
    return b"ceph v2\n" + struct.pack("<H", len(payload) if length is None else length) + payload


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"ceph v027" + bytes(200), "speaks msgr v1"),
        (b"SSH-2.0-OpenSSH_9.2p1", "banner begins with b'SSH-2.0-'"),
        (banner(1, 0, length=15), "15 bytes"),
        (banner(1, 0, length=0), "0 bytes"),
        (banner(0, 0), "msgr2.1 is needed"),
        (banner(2, 0), "msgr2.1 is needed"),
        (banner(3, 2), "requires protocol features 0x2"),
    ],
)
@pytest.mark.parametrize("end", [connector, acceptor])
def test_bad_banners(data: bytes, named: str, end: Callable[[], Link]) -> None:
    with pytest.raises(PeerError, match=named):
        end().receive(data)


@pytest.mark.parametrize("data", [banner(1, 1), banner(3, 0), banner(0xFFFFFFFF, 1), banner(1, 0, b"more" * 100)])
@pytest.mark.parametrize("step", [1 << 30, 1])
def test_good_banners_are_answered_with_hello(data: bytes, step: int) -> None:
    link = connector()
    for pos in range(0, len(data), step):
        link.receive(data[pos : pos + step])
    assert said(link) == [control.Hello(EntityType.CLIENT, MON)]
    assert link.state is State.HELLO


def test_acceptor_tells_the_address_that_it_sees() -> None:
    server = acceptor()
    server.receive(BANNER)
    assert said(server) == [control.Hello(EntityType.MON, SEEN_CLIENT)]


def test_banner_is_sent_without_waiting() -> None:
    assert b"".join(connector().take_output()) == BANNER
    assert b"".join(acceptor().take_output()) == BANNER


def test_another_kind_of_peer_is_refused() -> None:
    with pytest.raises(PeerError, match="is a osd, not a mon"):
        connector().receive(BANNER + frame(control.Hello(EntityType.OSD, SEEN_CLIENT)))


@pytest.mark.parametrize("kind", [0, 3, 32, 255])
def test_nobody_is_of_no_kind(kind: int) -> None:
    for link in (connector(), acceptor()):
        with pytest.raises(PeerError, match=f"type {kind}"):
            link.receive(BANNER + frame(control.Hello(kind, SEEN_CLIENT)))


# --- authentication --------------------------------------------------------------------------------------------------


def test_next_allowed_method_is_tried_on_the_same_connection() -> None:
    gss = NoneClientAuth("client.admin", EntityType.MON)
    gss.method = AuthMethod.GSS
    ends = Ends(client_auths=[RoundsClientAuth(), gss, NoneClientAuth("client.admin", EntityType.MON)]).run()
    assert ends.client.is_ready
    requests = [item for item in frames_in(ends.client_sent) if isinstance(item, control.AuthRequest)]
    # gss is not in the list of the refusal, so that it is not even tried
    assert [request.method for request in requests] == [AuthMethod.CEPHX, AuthMethod.NONE]


def test_signatures_cover_refused_attempts() -> None:
    server_auth = RoundsServerAuth()
    none = NoneClientAuth("client.admin", EntityType.MON)
    ends = Ends(client_auths=[none, RoundsClientAuth((SECURE, CRC))], server_auth=server_auth).run()
    assert ends.client.is_ready
    assert ends.client.mode is SECURE


def test_refusal_says_what_was_tried_and_what_is_allowed() -> None:
    with pytest.raises(AuthError) as caught:
        Ends(server_auth=RoundsServerAuth()).run()
    assert caught.value.result == -95
    text = str(caught.value)
    for part in ("v2:127.0.0.1:3300/0", "method none in mode crc", "allows method cephx in mode secure, crc"):
        assert part in text


def test_a_wrong_key_is_refused_in_the_second_round_and_nothing_else_is_tried() -> None:
    second = RoundsClientAuth()
    with pytest.raises(AuthError, match=r"EACCES \(the name or its key is not accepted there\)") as caught:
        Ends(client_auths=[RoundsClientAuth(proof=b"wrong"), second], server_auth=RoundsServerAuth()).run()
    assert caught.value.result == -13


def test_refusal_in_the_first_round_has_its_code() -> None:
    server_auth = RoundsServerAuth()
    server_auth.refuse_request = True
    with pytest.raises(AuthError) as caught:
        Ends(client_auths=[RoundsClientAuth()], server_auth=server_auth).run()
    assert caught.value.result == -13


def test_a_server_that_does_not_prove_itself_is_refused() -> None:
    server_auth = RoundsServerAuth()
    server_auth.server_proof = b"guessed"
    with pytest.raises(AuthError, match="does not know the key"):
        Ends(client_auths=[RoundsClientAuth()], server_auth=server_auth).run()


def test_acceptor_answers_nonsense_with_refusals() -> None:
    for request, result in (
        (control.AuthRequest(77, [1], b""), -95),
        (control.AuthRequest(2, [1], b""), -95),
        (control.AuthRequest(1, [], b""), -95),
        (control.AuthRequest(1, [2, 9], b""), -95),
        (control.AuthRequest(1, [1], b""), -13),
        (control.AuthRequest(1, [1], b"\x0a\xff\xff\xff\xff"), -13),
    ):
        server = acceptor()
        server.receive(BANNER + frame(control.Hello(8, MON)))
        said(server)
        server.receive(frame(request))
        assert said(server) == [control.AuthBadMethod(request.method, result, [1], [2, 1])]
        assert server.state is State.AUTH


def test_after_a_refusal_in_the_second_round_a_new_request_is_a_fault() -> None:
    server = at_state(Role.ACCEPTOR, State.AUTH_MORE)
    server.take_output()
    server.receive(frame(control.AuthRequestMore(b"wrong")))
    assert isinstance(said(server)[0], control.AuthBadMethod)
    with pytest.raises(PeerError, match="AUTH_REQUEST in state auth_more"):
        server.receive(frame(control.AuthRequest(2, [1], b"")))


@pytest.mark.parametrize("mode", [0, 2, 3, 99])
def test_a_mode_that_was_not_offered_is_refused(mode: int) -> None:
    link = connector()
    link.receive(BANNER + frame(control.Hello(EntityType.MON, SEEN_CLIENT)))
    with pytest.raises(PeerError, match=f"mode {mode}, asked for crc"):
        link.receive(frame(control.AuthDone(1, mode, b"")))


def test_an_id_that_no_name_can_hold_is_refused() -> None:
    link = connector()
    link.receive(BANNER + frame(control.Hello(EntityType.MON, SEEN_CLIENT)))
    with pytest.raises(PeerError, match="global id"):
        link.receive(frame(control.AuthDone(2**63, 1, b"")))
    assert link.global_id == 0


def test_secure_mode_without_a_secret_is_refused() -> None:
    client_auth = RoundsClientAuth()
    client_auth.secrets = AuthSecrets(SECRETS.session_key)
    with pytest.raises(PeerError, match="connection secret of 0 bytes"):
        Ends(client_auths=[client_auth], server_auth=RoundsServerAuth()).run()


@pytest.mark.parametrize("mode", [CRC, SECURE])
@pytest.mark.parametrize("side", ["client", "server"])
def test_nothing_is_granted_without_the_right_signature(side: str, mode: object) -> None:
    """One end has another session key (and the same connection secret)."""
    client_auth, server_auth = RoundsClientAuth((mode,)), RoundsServerAuth()  # type: ignore[arg-type]
    wrong = AuthSecrets(b"another key" * 3, SECRETS.connection_secret)
    if side == "client":
        client_auth.secrets = wrong
    else:
        server_auth.secrets = wrong
    ends = Ends(client_auths=[client_auth], server_auth=server_auth)
    with pytest.raises(PeerError, match="signature of the handshake is wrong"):
        ends.run()
    assert not ends.server.is_ready
    assert ends.server.entity == ""
    assert ends.server.caps == b""
    assert len(ends.registry) == 0
    # the client has found out first, and its own signature does not please the server either
    with pytest.raises(PeerError, match="signature of the handshake is wrong"):
        ends.to_server(ends.client_output())
    assert not ends.server.is_ready
    assert ends.server.entity == ""


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 400), flip=st.integers(1, 255), direction=st.booleans())
def test_a_changed_byte_before_auth_done_never_goes_unnoticed(at: int, flip: int, direction: bool) -> None:
    """Somebody in between changes a byte and mends the crcs: the signatures tell."""
    ends = Ends(client_auths=[RoundsClientAuth((CRC,))], server_auth=RoundsServerAuth())
    position = {True: 0, False: 0}
    writer = FrameWriter()

    def tamper(data: bytes, towards_server: bool) -> bytes:
        begin = position[towards_server]
        position[towards_server] += len(data)
        if towards_server is not direction or not begin <= at < begin + len(data):
            return data
        changed = bytearray(data)
        changed[at - begin] ^= flip
        # mend: frame by frame, new crcs over what is there now
        out, rest = b"", bytes(changed)
        if begin == 0:
            out, rest = rest[: len(BANNER)], rest[len(BANNER) :]
        while len(rest) >= 32:
            length = struct.unpack_from("<I", rest, 2)[0]
            if rest[0] not in set(Tag) or length > CONTROL_BYTES_MAX or len(rest) < 36 + length:
                return out + rest
            out += b"".join(writer.frame(rest[0], [rest[32 : 32 + length]]))
            rest = rest[36 + length :]
        return out + rest

    same = True
    try:
        for _ in range(20):
            to_server, to_client = ends.client_output(), ends.server_output()
            changed_server, changed_client = tamper(to_server, True), tamper(to_client, False)
            same = same and changed_server == to_server and changed_client == to_client
            ends.to_server(changed_server)
            ends.to_client(changed_client)
    except PeerError:
        pass
    if not (ends.client.is_ready and ends.server.is_ready):
        assert not same
        return
    sent = ends.client_sent if direction else ends.server_sent
    signature = control.AuthSignature.TAG
    signed = next(
        pos for pos in range(len(sent)) if sent[pos : pos + 2] == bytes((signature, 1)) and sent[pos + 2] == 32
    )
    assert same or at >= signed, f"byte {at} of {signed} was changed, and both are content"


def test_a_signature_of_method_none_is_zero_and_checked() -> None:
    ends = Ends().run()
    (signature,) = [item for item in frames_in(ends.client_sent) if isinstance(item, control.AuthSignature)]
    assert signature.signature == bytes(32)
    server = acceptor()
    server.receive(BANNER + frame(control.Hello(8, MON)))
    server.receive(frame(control.AuthRequest(1, [1], NoneClientAuth("client.a", EntityType.MON).request())))
    with pytest.raises(PeerError, match="signature"):
        server.receive(frame(control.AuthSignature(b"\1" + bytes(31))))


def test_endless_rounds_are_cut_off() -> None:
    with pytest.raises(PeerError, match=f"more than {FRAMES_MAX} frames"):
        Ends(client_auths=[RoundsClientAuth()], server_auth=RoundsServerAuth(rounds=1000)).run()


# --- idents ----------------------------------------------------------------------------------------------------------


def server_in_session(**arguments: object) -> Link:
    """An acceptor that waits for CLIENT_IDENT, in crc mode."""
    server = acceptor(**arguments)
    server.receive(BANNER + frame(control.Hello(8, MON)))
    server.receive(frame(control.AuthRequest(1, [1], NoneClientAuth("client.a", EntityType.MON).request())))
    server.receive(frame(control.AuthSignature(bytes(32))))
    said(server)
    return server


IDENT = SAMPLES[Tag.CLIENT_IDENT]
assert isinstance(IDENT, control.ClientIdent)


def changed(**fields: object) -> control.ClientIdent:
    values = {name: getattr(IDENT, name) for name, _ in control.ClientIdent.FIELDS}
    return control.ClientIdent(**(values | fields))


@pytest.mark.parametrize(
    ("ident", "named"),
    [
        (changed(addrs=()), "which address it has"),
        (changed(addrs=(BLANK,)), "which address it has"),
        (changed(addrs=(BLANK_CLIENT,)), "which address it has"),
        (changed(target=MON._replace(nonce=1)), "wanted v2:127.0.0.1:3300/1; we are v2:127.0.0.1:3300/0"),
        (changed(target=MON._replace(type=AddrType.ANY)), "wanted any:"),
        (changed(target=EntityAddr.of("127.0.0.1", 3301)), "wanted"),
    ],
)
def test_idents_that_are_refused(ident: control.ClientIdent, named: str) -> None:
    with pytest.raises(PeerError, match=named):
        server_in_session().receive(frame(ident))


def test_missing_features_are_told_and_another_ident_may_follow() -> None:
    server = server_in_session(policy=STATELESS_SERVER._replace(required=CLIENT_REQUIRED))
    server.receive(frame(changed(supported=SUPPORTED & ~OSDREPLYMUX)))
    assert said(server) == [control.IdentMissingFeatures(OSDREPLYMUX)]
    assert not server.is_ready
    assert server.receive(frame(changed())) == [LinkReady(resumed=False)]


def test_what_the_connector_requires_is_its_own_affair() -> None:
    server = server_in_session()
    server.receive(frame(changed(required=1 << 63)))
    assert server.is_ready


def test_features_are_what_both_have() -> None:
    server = server_in_session()
    server.receive(frame(changed(supported=CLIENT_REQUIRED | 1 << 63)))
    assert server.features == CLIENT_REQUIRED


def test_flags_of_the_connector_do_not_matter() -> None:
    server = server_in_session()
    server.receive(frame(changed(flags=0, cookie=77)))
    (answer,) = said(server)
    assert isinstance(answer, control.ServerIdent)
    assert (answer.flags, answer.cookie) == (control.FLAG_LOSSY, 0)


def test_compression_is_declined() -> None:
    server = server_in_session()
    server.receive(frame(control.CompressionRequest(True, [3, 1])))
    assert said(server) == [control.CompressionDone(False, 0)]
    server.receive(frame(changed()))
    assert server.is_ready


def client_at_ident() -> Link:
    link = connector()
    link.receive(BANNER + frame(control.Hello(EntityType.MON, SEEN_CLIENT)))
    link.receive(frame(control.AuthDone(4113, 1, b"")))
    link.receive(frame(control.AuthSignature(bytes(32))))
    assert link.state is State.IDENT
    said(link)
    return link


def test_server_must_be_at_the_address_that_was_dialled() -> None:
    other = EntityAddr.of("127.0.0.1", 3301)
    with pytest.raises(PeerError, match=r"says that it is v2:127\.0\.0\.1:3301/0"):
        client_at_ident().receive(frame(control.ServerIdent((other,), 0, 1, SUPPORTED, 0, 1, 0)))
    link = client_at_ident()
    assert link.receive(frame(control.ServerIdent((other, MON), 0, 1, SUPPORTED, 0, 1, 0))) == [LinkReady(False)]
    assert link.peer_addrs == (other, MON)


def test_server_must_have_what_we_need() -> None:
    with pytest.raises(PeerError, match=f"lacks the feature bits {MSG_ADDR2:#x}"):
        client_at_ident().receive(frame(control.ServerIdent((MON,), 0, 1, SUPPORTED & ~MSG_ADDR2, 0, 1, 0)))


def test_missing_features_are_an_error_at_the_connector() -> None:
    with pytest.raises(PeerError, match="requires the feature bits 0x10"):
        client_at_ident().receive(frame(control.IdentMissingFeatures(0x10)))


def test_a_client_knows_msr_rules_and_a_server_without_them_does_not_mind() -> None:
    ready, plain = client_at_ident(), client_at_ident()
    ready.receive(frame(control.ServerIdent((MON,), 0, 1, SUPPORTED | CRUSH_MSR, CRUSH_MSR, 1, 0)))
    assert has(ready.features, CRUSH_MSR)
    plain.receive(frame(control.ServerIdent((MON,), 0, 1, SUPPORTED, 0, 1, 0)))
    assert not has(plain.features, CRUSH_MSR)


def test_none_server_keeps_a_global_id_that_was_given_before() -> None:
    ends = Ends(client_auths=[NoneClientAuth("client.admin", EntityType.MON, 777)], server_auth=NoneServerAuth(1)).run()
    assert ends.client.global_id == ends.server.peer_name.number == 777


# --- any bytes -------------------------------------------------------------------------------------------------------


@given(data=st.binary(max_size=400), valid_banner=st.booleans(), server=st.booleans())
def test_any_bytes_give_events_or_a_peer_error(data: bytes, valid_banner: bool, server: bool) -> None:
    link = acceptor() if server else connector()
    try:
        link.receive((BANNER if valid_banner else b"") + data)
    except PeerError:
        pass
    assert not link.is_ready


@settings(max_examples=200, deadline=None)
@given(
    script=st.lists(st.tuples(st.sampled_from(list(SAMPLES)), st.integers(0, 200), st.integers(0, 255)), max_size=8),
    server=st.booleans(),
)
def test_any_frames_give_events_or_a_peer_error(script: list[tuple[Tag, int, int]], server: bool) -> None:
    """Frames with sound crcs, in any order, with a byte of their payload changed."""
    link = acceptor() if server else connector()
    try:
        link.receive(BANNER)
        for tag, at, value in script:
            payload = bytearray(SAMPLES[tag].to_bytes())
            if at < len(payload):
                payload[at] ^= value
            link.receive(b"".join(FrameWriter().frame(tag, [payload])))
    except PeerError:
        pass
