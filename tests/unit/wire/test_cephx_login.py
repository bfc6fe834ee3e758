# mypy: allow-untyped-calls
from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from cove.wire.auth import (
    AuthDone,
    AuthError,
    AuthMethod,
    AuthMore,
    AuthRefused,
    ConnectionMode,
    NoneClientAuth,
    NoneServerAuth,
)
from cove.wire.cephx import (
    CephxClient,
    CephxService,
    CephxSettings,
    CephxState,
    CryptoKey,
    Entity,
    KeyType,
    refusal,
)
from cove.wire.cephx.keys import NO_KEY
from cove.wire.cephx.structures import NO_TICKET, Authenticate, Authorize, RequestHeader, TicketBlob
from cove.wire.cephx.tickets import decode_ticket_reply, encode_ticket_reply
from cove.wire.encoding import Decoder, Encoder
from cove.wire.errors import PeerError, UsageError
from cove.wire.types import EntityType
from tests.unit.wire.cephx_pair import CAPS, HOUR, Cluster, Refused, authenticate

BOTH_TYPES = pytest.mark.parametrize("key_type", [KeyType.AES, KeyType.AES256K], ids=["aes", "aes256k"])
BOTH_MODES = pytest.mark.parametrize("mode", list(ConnectionMode), ids=["crc", "secure"])


@BOTH_TYPES
@BOTH_MODES
@pytest.mark.parametrize("service_key_type", [KeyType.AES, KeyType.AES256K])
def test_login_and_connections(key_type, mode, service_key_type):
    cluster = Cluster(key_type, service_key_type=service_key_type)
    client = cluster.client()
    attempt = client.mon_auth(cluster.now_ns)
    done, secrets = authenticate(attempt, cluster.monitor(), mode)
    client.adopt(attempt)
    assert (done.entity, done.global_id) == ("client.a", 4096)
    assert client.global_id == 4096
    assert len(secrets.connection_secret) == (64 if mode == ConnectionMode.SECURE else 0)
    assert len(secrets.session_key) == (16 if key_type == KeyType.AES else 32)
    assert sorted(client.tickets) == [1, 4, 16, 32]
    for kind in (EntityType.OSD, EntityType.MGR):
        done, secrets = cluster.connect(client, kind, mode)
        assert (done.entity, done.global_id) == ("client.a", 4096)
        assert done.caps.decode() == CAPS[kind.name.lower()]
        assert len(secrets.connection_secret) == (64 if mode == ConnectionMode.SECURE else 0)
        assert len(secrets.session_key) == (32 if key_type == service_key_type == KeyType.AES256K else 16)


def test_sizes_are_those_of_a_real_cluster():
    cluster = Cluster(service_key_type=KeyType.AES)
    cluster.server.put_entity(
        Entity("client.admin", cluster.key, {"mon": "allow *", "osd": "allow *", "mgr": "allow *"})
    )
    for mode, expected in ((ConnectionMode.CRC, 760), (ConnectionMode.SECURE, 824)):
        done, _ = authenticate(cluster.client("client.admin").mon_auth(cluster.now_ns), cluster.monitor(), mode)
        assert len(done.payload) == expected
    for mode, expected in ((ConnectionMode.CRC, 210), (ConnectionMode.SECURE, 274)):
        attempt = cluster.client("client.admin").mon_auth(cluster.now_ns, wanted=EntityType.AUTH)
        done, _ = authenticate(attempt, cluster.monitor(), mode)
        assert len(done.payload) == expected
    client = cluster.client("client.admin")
    cluster.log_in(client)
    assert len(client.authorizer(EntityType.OSD, cluster.now_ns).request()) == 174


@BOTH_TYPES
def test_a_wrong_key_is_refused_after_the_proof(key_type):
    cluster = Cluster(key_type)
    wrong = cluster.client(key=CryptoKey.generate(key_type, cluster.random_bytes))
    with pytest.raises(Refused) as caught:
        cluster.log_in(wrong)
    assert (caught.value.result, caught.value.in_round) == (-errno.EACCES, 2)


def test_an_unknown_entity_gets_a_challenge_and_the_same_refusal():
    cluster = Cluster()
    with pytest.raises(Refused) as caught:
        cluster.log_in(cluster.client("client.nobody"))
    assert (caught.value.result, caught.value.in_round) == (-errno.EACCES, 2)


@pytest.mark.parametrize("caps", [{}, {"mon": ""}, {"osd": "allow *"}])
def test_without_capability_for_the_monitors_there_is_no_login(caps):
    cluster = Cluster()
    cluster.server.put_entity(Entity("client.a", cluster.key, caps))
    with pytest.raises(Refused) as caught:
        cluster.log_in(cluster.client())
    assert (caught.value.result, caught.value.in_round) == (-errno.EACCES, 2)


def test_keys_of_a_type_that_is_not_allowed_are_refused():
    cluster = Cluster(allowed_key_types=frozenset({KeyType.AES256K}))
    with pytest.raises(Refused) as caught:
        cluster.log_in(cluster.client())
    assert (caught.value.result, caught.value.in_round) == (-errno.EACCES, 2)


def test_a_server_that_does_not_know_our_key_is_found_out():
    cluster, impostor = Cluster(), Cluster(KeyType.AES)
    impostor.server.put_entity(Entity("client.a", CryptoKey(KeyType.AES, b"another key here"), dict(CAPS)))
    monitor = impostor.monitor()
    # It can't check the proof, so it says yes to anything.
    monitor._is_proof_of = lambda key, request: True  # type: ignore[method-assign]
    with pytest.raises(AuthError, match=r"could not be opened with the key of client\.a: wrong key"):
        authenticate(cluster.client().mon_auth(cluster.now_ns), monitor)


def test_a_login_without_proof_proves_nothing():
    cluster = Cluster()
    attempt = cluster.client().mon_auth(cluster.now_ns)
    attempt.request()
    with pytest.raises(AuthError, match="without having asked"):
        attempt.done(4096, ConnectionMode.CRC, b"")


def test_a_second_challenge_is_an_error():
    cluster = Cluster()
    attempt, monitor = cluster.client().mon_auth(cluster.now_ns), cluster.monitor()
    step = monitor.request(AuthMethod.CEPHX, ConnectionMode.CRC, attempt.request())
    assert isinstance(step, AuthMore)
    attempt.more(step.payload)
    with pytest.raises(PeerError, match="second time"):
        attempt.more(step.payload)


@BOTH_TYPES
def test_every_changed_byte_of_the_answer_is_noticed_or_harmless(key_type):
    cluster = Cluster(key_type)
    for at in range(0, 700, 7):
        attempt, monitor = cluster.client().mon_auth(cluster.now_ns), cluster.monitor()
        step = monitor.request(AuthMethod.CEPHX, ConnectionMode.SECURE, attempt.request())
        assert isinstance(step, AuthMore)
        done = monitor.more(attempt.more(step.payload))
        assert isinstance(done, AuthDone)
        payload = bytearray(done.payload)
        payload[at] ^= 1
        try:
            attempt.done(done.global_id, ConnectionMode.SECURE, bytes(payload))
        except PeerError:
            assert not attempt.is_done


def test_truncated_answers_are_refused():
    cluster = Cluster()
    attempt, monitor = cluster.client().mon_auth(cluster.now_ns), cluster.monitor()
    step = monitor.request(AuthMethod.CEPHX, ConnectionMode.SECURE, attempt.request())
    assert isinstance(step, AuthMore)
    done = monitor.more(attempt.more(step.payload))
    assert isinstance(done, AuthDone)
    for length in range(len(done.payload)):
        with pytest.raises(PeerError):
            attempt.done(done.global_id, ConnectionMode.SECURE, done.payload[:length])


def test_truncated_requests_are_refused():
    cluster = Cluster()
    attempt = cluster.client().mon_auth(cluster.now_ns)
    request = attempt.request()
    for length in range(len(request)):
        assert isinstance(
            cluster.monitor().request(AuthMethod.CEPHX, ConnectionMode.CRC, request[:length]), AuthRefused
        )
    for length in range(36):
        attempt, monitor = cluster.client().mon_auth(cluster.now_ns), cluster.monitor()
        step = monitor.request(AuthMethod.CEPHX, ConnectionMode.CRC, attempt.request())
        assert isinstance(step, AuthMore)
        assert monitor.more(attempt.more(step.payload)[:length]) == AuthRefused(-errno.EPERM)


def test_other_kinds_of_login_are_refused_at_a_monitor():
    cluster = Cluster()
    client = cluster.client()
    cluster.log_in(client)
    refused = AuthRefused(-errno.EACCES)
    authorizer = client.authorizer(EntityType.MON, cluster.now_ns).request()
    assert cluster.monitor().request(AuthMethod.CEPHX, ConnectionMode.CRC, authorizer) == refused
    request = client.mon_auth(cluster.now_ns).request()
    assert cluster.monitor().request(AuthMethod.CEPHX, ConnectionMode.CRC, b"\x14" + request[1:]) == refused
    none = cluster.monitor().request(AuthMethod.NONE, ConnectionMode.CRC, request)
    assert none == AuthRefused(-errno.EOPNOTSUPP)


# -- global ids


def test_each_new_client_gets_an_id_of_its_own():
    cluster = Cluster()
    clients = [cluster.client() for _ in range(3)]
    for client in clients:
        cluster.log_in(client)
    assert [client.global_id for client in clients] == [4096, 4097, 4098]


def test_a_client_that_comes_back_keeps_its_id_and_gets_a_wrapped_ticket():
    cluster = Cluster()
    client = cluster.client()
    cluster.log_in(client)
    before = client.tickets[EntityType.AUTH]
    cluster.now_ns += HOUR
    attempt = client.mon_auth(cluster.now_ns)
    done, _ = authenticate(attempt, cluster.monitor())
    client.adopt(attempt)
    assert client.global_id == done.global_id == 4096
    assert client.tickets[EntityType.AUTH].session_key != before.session_key
    # u16, i32, u8, u32 count, u32 service, u8, blob; then the flag "wrapped".
    decoder = Decoder(done.payload)
    decoder.raw(16)
    decoder.blob()
    assert decoder.bool()
    cluster.connect(client)


def test_a_wrapped_ticket_needs_the_old_one():
    cluster = Cluster()
    client = cluster.client()
    cluster.log_in(client)
    attempt = client.mon_auth(cluster.now_ns)
    attempt._identity = replace(
        attempt._identity,
        auth_ticket=replace(client.tickets[EntityType.AUTH], session_key=CryptoKey(KeyType.AES, bytes(16))),
    )
    with pytest.raises(AuthError, match="does not open"):
        authenticate(attempt, cluster.monitor())


def login_with(cluster, claimed_id, ticket, version=3):
    """A login whose claims don't fit together; its result."""
    client = cluster.client()
    client.global_id = claimed_id
    monitor = cluster.monitor()
    attempt = client.mon_auth(cluster.now_ns)
    step = monitor.request(AuthMethod.CEPHX, ConnectionMode.CRC, attempt.request())
    request = Authenticate.from_bytes(attempt.more(step.payload)[2:])
    request = replace(request, old_ticket=ticket, version=version)
    step = monitor.more(RequestHeader(0x0100).to_bytes() + request.to_bytes())
    return step.result if isinstance(step, AuthRefused) else step.global_id


def test_rules_of_the_old_ticket():
    cluster = Cluster()
    first, second = cluster.client(), cluster.client()
    cluster.log_in(first)
    cluster.log_in(second)
    ticket = first.tickets[EntityType.AUTH].blob
    other = second.tickets[EntityType.AUTH].blob
    assert login_with(cluster, 4096, ticket) == 4096
    assert login_with(cluster, 4096, NO_TICKET) == -errno.EACCES
    assert login_with(cluster, 4096, other) == -errno.EACCES
    assert login_with(cluster, 4097, ticket) == -errno.EACCES
    assert login_with(cluster, 4096, TicketBlob(ticket.secret_id, ticket.data[:-16])) == -errno.EACCES
    assert login_with(cluster, 4096, TicketBlob(99, ticket.data)) == -errno.EACCES
    assert login_with(cluster, 4096, first.tickets[EntityType.OSD].blob) == -errno.EACCES
    assert login_with(cluster, 0, ticket) == -errno.EINVAL
    assert login_with(cluster, 4096, NO_TICKET, version=2) == -errno.EACCES


def test_old_clients_may_keep_an_id_unproved_where_that_is_allowed():
    cluster = Cluster(allow_insecure_global_id_reclaim=True)
    cluster.log_in(cluster.client())
    assert login_with(cluster, 4096, NO_TICKET, version=2) == 4096
    assert login_with(cluster, 4096, NO_TICKET, version=3) == -errno.EACCES


def test_a_monitor_that_forgot_its_secrets_refuses_until_the_client_forgets_its_id():
    before, after = Cluster(), Cluster()
    client = before.client()
    before.log_in(client)
    with pytest.raises(Refused):
        after.log_in(client)
    client.forget()
    after.log_in(client)
    after.connect(client)


def test_a_monitor_that_changes_our_id_is_not_followed():
    cluster = Cluster()
    client = cluster.client()
    cluster.log_in(client)
    attempt, monitor = client.mon_auth(cluster.now_ns), cluster.monitor()
    step = monitor.request(AuthMethod.CEPHX, ConnectionMode.CRC, attempt.request())
    assert isinstance(step, AuthMore)
    step = monitor.more(attempt.more(step.payload))
    assert isinstance(step, AuthDone)
    for wrong in (0, 4097):
        with pytest.raises(AuthError, match="global id"):
            attempt.done(wrong, ConnectionMode.CRC, step.payload)


def test_parallel_attempts_and_the_one_that_is_adopted():
    cluster = Cluster()
    client = cluster.client()
    attempts = [client.mon_auth(cluster.now_ns) for _ in range(3)]
    monitors = [cluster.monitor() for _ in attempts]
    steps = [
        monitor.request(AuthMethod.CEPHX, ConnectionMode.CRC, attempt.request())
        for monitor, attempt in zip(monitors, attempts, strict=True)
    ]
    for at in (2, 0):
        step = monitors[at].more(attempts[at].more(steps[at].payload))  # type: ignore[union-attr]
        assert isinstance(step, AuthDone)
        attempts[at].done(step.global_id, ConnectionMode.CRC, step.payload)
    assert (client.global_id, client.tickets) == (0, {})
    with pytest.raises(UsageError, match="not finished"):
        client.adopt(attempts[1])
    client.adopt(attempts[0])
    assert client.global_id == 4097
    with pytest.raises(UsageError, match="4096"):
        client.adopt(attempts[2])
    assert client.global_id == 4097
    cluster.connect(client)


def test_a_restarted_monitor_knows_its_clients_and_gives_no_id_twice():
    cluster = Cluster()
    client = cluster.client()
    cluster.log_in(client)
    again = Cluster(state=CephxState.from_bytes(cluster.server.state().to_bytes()))
    again.log_in(client)
    again.connect(client)
    fresh = again.client(key=cluster.key)
    again.log_in(fresh)
    assert fresh.global_id > client.global_id == 4096


def test_changes_are_announced_before_they_count():
    cluster = Cluster()
    cluster.log_in(cluster.client())
    before, state = cluster.changes, cluster.server.state()
    cluster.log_in(cluster.client())
    assert cluster.changes == before
    assert cluster.server.state() == state
    for _ in range(1100):
        cluster.server.new_global_id()
    assert cluster.changes > before
    assert cluster.server.state().reserved_global_ids > state.reserved_global_ids


def test_a_pending_key_takes_the_place_of_the_key_once_used():
    cluster = Cluster()
    pending = CryptoKey.generate(KeyType.AES256K, cluster.random_bytes)
    cluster.server.put_entity(Entity("client.a", cluster.key, dict(CAPS), pending))
    cluster.log_in(cluster.client())
    cluster.log_in(cluster.client(key=pending))
    with pytest.raises(Refused):
        cluster.log_in(cluster.client())
    cluster.log_in(cluster.client(key=pending))


# -- OSDs and managers


def test_without_a_ticket_nothing_is_shown():
    cluster = Cluster()
    with pytest.raises(AuthError, match="no ticket for service osd"):
        cluster.client().authorizer(EntityType.OSD, cluster.now_ns)


def test_a_ticket_is_of_use_at_its_own_service_only():
    cluster = Cluster()
    client = cluster.client()
    cluster.log_in(client)
    with pytest.raises(Refused) as caught:
        authenticate(client.authorizer(EntityType.MGR, cluster.now_ns), cluster.service(EntityType.OSD))
    assert (caught.value.result, caught.value.in_round) == (-errno.EACCES, 1)


def test_a_recorded_authorizer_is_of_no_use():
    cluster = Cluster()
    client = cluster.client()
    cluster.log_in(client)
    attempt, osd = client.authorizer(EntityType.OSD, cluster.now_ns), cluster.service()
    first = attempt.request()
    step = osd.request(AuthMethod.CEPHX, ConnectionMode.CRC, first)
    assert isinstance(step, AuthMore)
    answer = attempt.more(step.payload)
    assert isinstance(osd.more(answer), AuthDone)
    for replayed in (first, answer):
        osd = cluster.service()
        assert isinstance(osd.request(AuthMethod.CEPHX, ConnectionMode.CRC, first), AuthMore)
        assert osd.more(replayed) == AuthRefused(-errno.EACCES)
    with pytest.raises(PeerError):
        osd.more(answer)


def test_a_ticket_is_bound_to_its_global_id():
    cluster = Cluster()
    client = cluster.client()
    cluster.log_in(client)
    client.global_id = 5000
    with pytest.raises(Refused) as caught:
        cluster.connect(client)
    assert caught.value.result == -errno.EACCES


def test_a_service_without_the_secret_is_found_out():
    cluster = Cluster()
    client = cluster.client()
    cluster.log_in(client)
    attempt = client.authorizer(EntityType.OSD, cluster.now_ns)
    attempt.request()
    with pytest.raises(AuthError, match="could open our ticket"):
        attempt.more(bytes(32))
    with pytest.raises(AuthError, match="could open our ticket"):
        attempt.done(client.global_id, ConnectionMode.CRC, b"\x20\0\0\0" + bytes(32))


def test_the_answer_to_another_nonce_is_refused():
    cluster = Cluster()
    client = cluster.client()
    cluster.log_in(client)
    attempt, osd = client.authorizer(EntityType.OSD, cluster.now_ns), cluster.service()
    step = osd.request(AuthMethod.CEPHX, ConnectionMode.CRC, attempt.request())
    assert isinstance(step, AuthMore)
    done = osd.more(attempt.more(step.payload))
    assert isinstance(done, AuthDone)
    attempt.request()
    with pytest.raises(AuthError, match="another nonce"):
        attempt.done(done.global_id, ConnectionMode.CRC, done.payload)


def test_an_authorizer_is_refused_if_cut_anywhere():
    cluster = Cluster()
    client = cluster.client()
    cluster.log_in(client)
    request = client.authorizer(EntityType.OSD, cluster.now_ns).request()
    for length in range(len(request)):
        refused = cluster.service().request(AuthMethod.CEPHX, ConnectionMode.CRC, request[:length])
        assert refused == AuthRefused(-errno.EACCES)


def test_the_challenge_wraps_around():
    cluster = Cluster()
    client = cluster.client()
    cluster.log_in(client)
    service = CephxService(
        EntityType.OSD,
        lambda: cluster.server.rotating_secrets(EntityType.OSD),
        lambda length: b"\xff" * length,
    )
    done, _ = authenticate(client.authorizer(EntityType.OSD, cluster.now_ns), service.accept())
    assert done.entity == "client.a"
    assert Authorize(2**64 - 1, True, 2**64 - 1).to_bytes()


def test_a_client_without_capability_for_osds_is_let_in_with_none():
    cluster = Cluster()
    cluster.server.put_entity(Entity("client.a", cluster.key, {"mon": "allow r"}))
    client = cluster.client()
    cluster.log_in(client)
    done, _ = cluster.connect(client)
    assert done.caps == b""


# -- names, refusals, method none


def test_nothing_shows_a_secret():
    cluster = Cluster()
    client = cluster.client()
    attempt = client.mon_auth(cluster.now_ns)
    done, secrets = authenticate(attempt, cluster.monitor(), ConnectionMode.SECURE)
    client.adopt(attempt)
    session_key = client.tickets[EntityType.AUTH].session_key.secret
    assert secrets.session_key == session_key
    shown = repr((done, secrets, client.tickets, attempt.issued, attempt._identity, cluster.server.state()))
    for secret in (session_key, secrets.connection_secret, cluster.key.secret):
        assert repr(secret)[2:-1] not in shown


def test_names_and_keys_that_can_not_log_in():
    key = CryptoKey(KeyType.AES, bytes(16))
    for name in ("admin", "cliient.admin", ""):
        with pytest.raises(UsageError, match=r"client\.admin"):
            CephxClient(name, key, bytes)
    with pytest.raises(UsageError, match="type none"):
        CephxClient("client.a", CryptoKey(KeyType.NONE, b""), bytes)


@pytest.mark.parametrize(
    ("peer", "result", "allowed", "words"),
    [
        (EntityType.MON, -13, [2], "no such user, a wrong key"),
        (EntityType.MON, -95, [1], "only none"),
        (EntityType.OSD, -95, [2], "in common"),
        (EntityType.OSD, -13, [2], "refuses the ticket of client.a"),
    ],
)
def test_refusals_say_what_they_may_mean(peer, result, allowed, words):
    error = refusal("client.a", peer, result, allowed)
    assert words in str(error)
    assert error.result == result


def test_method_none():
    ids = iter([4096])
    client = NoneClientAuth("client.a", EntityType.MON)
    done, _ = authenticate(client, NoneServerAuth(lambda: next(ids)))
    assert (done.entity, client.global_id) == ("client.a", 4096)
    done, _ = authenticate(NoneClientAuth("client.a", EntityType.MON, 7), NoneServerAuth(lambda: next(ids)))
    assert done.global_id == 7
    done, _ = authenticate(NoneClientAuth("client.a", EntityType.OSD, 4096), NoneServerAuth())
    assert done.global_id == 4096
    with pytest.raises(Refused):
        authenticate(NoneClientAuth("client.a", EntityType.OSD, 4096), NoneServerAuth(lambda: next(ids)))
    with pytest.raises(Refused):
        authenticate(NoneClientAuth("client.a", EntityType.MON, 4096), NoneServerAuth())
    assert NoneServerAuth().request(AuthMethod.NONE, ConnectionMode.CRC, b"") == AuthRefused()


# -- what an enemy might try


def test_an_id_is_not_taken_over_with_the_ticket_of_another_entity():
    """AUTH tickets are seen on the wire when they are shown: with its own key another entity could show one."""
    cluster = Cluster()
    key = CryptoKey.generate(KeyType.AES, cluster.random_bytes)
    cluster.server.put_entity(Entity("client.thief", key, dict(CAPS)))
    victim = cluster.client()
    cluster.log_in(victim)
    thief = cluster.client("client.thief", key)
    thief.global_id, thief.tickets = victim.global_id, dict(victim.tickets)
    with pytest.raises(Refused) as caught:
        authenticate(thief.mon_auth(cluster.now_ns), cluster.monitor())
    assert caught.value.result == -errno.EACCES


def test_a_challenge_is_good_for_one_proof():
    cluster = Cluster()
    monitor, attempt = cluster.monitor(), cluster.client().mon_auth(cluster.now_ns)
    step = monitor.request(AuthMethod.CEPHX, ConnectionMode.CRC, attempt.request())
    assert isinstance(step, AuthMore)
    proof = attempt.more(step.payload)
    wrong = proof[:-30] + bytes(30)
    assert monitor.more(wrong) == AuthRefused(-errno.EACCES)
    with pytest.raises(PeerError):
        monitor.more(proof)


def test_tickets_without_a_session_key_are_refused():
    """Nothing would be sealed or signed with it."""
    cluster = Cluster()
    issued = cluster.server.issue(Entity("client.a", cluster.key), 4096, EntityType.AUTH)
    issued = replace(issued, ticket=replace(issued.ticket, session_key=NO_KEY))
    encoder = Encoder()
    encode_ticket_reply(encoder, [issued], cluster.key, cluster.random_bytes)
    with pytest.raises(PeerError, match="session key"):
        decode_ticket_reply(Decoder(encoder.bytes()), cluster.key)


@pytest.mark.parametrize("settings", [{"service_key_type": KeyType.NONE}, {"allowed_key_types": frozenset(KeyType)}])
def test_a_cluster_without_keys_is_refused(settings):
    with pytest.raises(UsageError, match="none"):
        CephxSettings(**settings)
