# mypy: allow-untyped-calls
from __future__ import annotations

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cove.wire.auth import AuthError
from cove.wire.cephx import CephxClient, CryptoKey, Entity, KeyType
from cove.wire.cephx.rotating import NO_SECRETS, renew, sealing_secret
from cove.wire.cephx.structures import RequestHeader
from cove.wire.errors import PeerError, UsageError
from cove.wire.types import EntityType
from tests.fuzz import fuzz_cephx
from tests.unit.wire.cephx_pair import HOUR, SECOND, START, Cluster, Refused, authenticate

BOTH_TYPES = pytest.mark.parametrize("key_type", [KeyType.AES, KeyType.AES256K], ids=["aes", "aes256k"])


def numbered(length: int) -> bytes:
    return bytes(range(length))


# -- rotating secrets


def expirations(secrets):
    return {number: secret.expires_ns for number, secret in sorted(secrets.secrets.items())}


def test_rotation():
    at = START
    secrets = renew(NO_SECRETS, at, HOUR, KeyType.AES, numbered)
    assert expirations(secrets) == {1: at + HOUR, 2: at + 2 * HOUR, 3: at + 3 * HOUR}
    assert sealing_secret(secrets, at, HOUR)[::2] == (2, HOUR)
    assert renew(secrets, at + 2 * HOUR - 1, HOUR, KeyType.AES, numbered) is secrets
    # The middle one is over: sealed with the newest until it is noticed.
    assert sealing_secret(secrets, at + 2 * HOUR, HOUR)[::2] == (3, HOUR)
    assert sealing_secret(secrets, at + 2 * HOUR + 60 * SECOND, HOUR)[::2] == (3, HOUR - 60 * SECOND)
    secrets = renew(secrets, at + 2 * HOUR, HOUR, KeyType.AES, numbered)
    assert expirations(secrets) == {2: at + 2 * HOUR, 3: at + 3 * HOUR, 4: at + 4 * HOUR}
    assert (secrets.max_id, sealing_secret(secrets, at + 2 * HOUR, HOUR)[0]) == (4, 3)


def test_rotation_after_a_long_pause():
    secrets = renew(NO_SECRETS, START, HOUR, KeyType.AES, numbered)
    at = START + 1000 * HOUR
    secrets = renew(secrets, at, HOUR, KeyType.AES, numbered)
    assert expirations(secrets) == {3: START + 3 * HOUR, 4: at + 2 * HOUR, 5: at + 3 * HOUR}
    assert sealing_secret(secrets, at, HOUR)[::2] == (4, HOUR)


@given(st.lists(st.integers(-3 * HOUR, 30 * HOUR), max_size=12))
def test_rotation_keeps_its_promises_whatever_the_clock_does(steps):
    at = START
    secrets = NO_SECRETS
    for step in steps:
        at += step
        before, secrets = secrets, renew(secrets, at, HOUR, KeyType.AES, numbered)
        assert len(secrets.secrets) == 3
        assert secrets.max_id == max(secrets.secrets) >= before.max_id
        order = [secrets.secrets[number].expires_ns for number in sorted(secrets.secrets)]
        assert order == sorted(order)
        number, _, validity_ns = sealing_secret(secrets, at, HOUR)
        assert number in secrets.secrets
        assert 0 < validity_ns <= HOUR


def test_times_beyond_the_encoding_are_refused():
    with pytest.raises(UsageError, match="encoded"):
        renew(NO_SECRETS, 2**32 * SECOND - HOUR, HOUR, KeyType.AES, numbered)


# -- renewal on an open session


@BOTH_TYPES
def test_tickets_stay_valid_over_days(key_type):
    cluster = Cluster(key_type)
    client = cluster.client()
    monitor = cluster.log_in(client)
    kinds: list[int] = []
    end = cluster.now_ns + 12 * 24 * HOUR
    while client.next_renewal_ns < end:
        cluster.now_ns = max(cluster.now_ns, client.next_renewal_ns) + 5 * SECOND
        assert client.renewal_due(cluster.now_ns)
        kinds += cluster.renew(client, monitor)
        assert not client.renewal_due(cluster.now_ns)
        for kind in (EntityType.OSD, EntityType.MGR):
            cluster.connect(client, kind)
        assert client.global_id == 4096
    # AUTH is due after 54 h, the others after 45 min.
    assert kinds.count(0x0100) == 5
    assert 370 < kinds.count(0x0200) < 385


def test_when_tickets_are_due():
    cluster = Cluster()
    client = cluster.client()
    assert not client.renewal_due(START)
    cluster.log_in(client)
    assert client.next_renewal_ns == START + 45 * 60 * SECOND
    assert not client.renewal_due(client.next_renewal_ns - 1)
    assert client.renewal_due(client.next_renewal_ns)


def test_the_quarter_counts_whole_seconds():
    cluster = Cluster(service_ttl_ns=7 * SECOND + SECOND // 2)
    client = cluster.client()
    cluster.log_in(client)
    assert client.next_renewal_ns == START + 7 * SECOND + SECOND // 2 - 7 * SECOND // 4


def test_a_request_without_answer_is_made_again_later():
    cluster = Cluster()
    client = cluster.client()
    monitor = cluster.log_in(client)
    cluster.now_ns = client.next_renewal_ns
    client.renewal_request(cluster.now_ns)
    assert not client.renewal_due(cluster.now_ns + 9 * SECOND)
    cluster.now_ns += 10 * SECOND
    assert client.renewal_due(cluster.now_ns)
    assert cluster.renew(client, monitor) == [0x0200]


def test_a_service_that_has_no_tickets_is_not_asked_for_all_the_time():
    cluster = Cluster()
    client = cluster.client()
    monitor = cluster.monitor()
    monitor._tickets = lambda entity, mask: []  # type: ignore[method-assign]
    attempt = client.mon_auth(cluster.now_ns)
    authenticate(attempt, monitor)
    client.adopt(attempt)
    assert client.renewal_due(cluster.now_ns)
    with pytest.raises(AuthError, match="no tickets"):
        cluster.renew(client, monitor)
    assert not client.renewal_due(cluster.now_ns + SECOND)
    assert client.renewal_due(cluster.now_ns + 10 * SECOND)


def test_the_auth_ticket_alone_is_followed_by_a_request_for_the_others():
    """As real monitors answer whose extra tickets a client can't find, or which give none."""
    cluster = Cluster()
    client = cluster.client()
    monitor = cluster.log_in(client)
    cluster.now_ns += 60 * HOUR
    original = monitor._tickets
    calls = []

    def none_at_first(entity, mask):
        calls.append(mask)
        return original(entity, mask) if len(calls) > 1 else []

    monitor._tickets = none_at_first  # type: ignore[method-assign]
    assert cluster.renew(client, monitor) == [0x0100, 0x0200]
    assert not client.renewal_due(cluster.now_ns)
    cluster.connect(client)


def test_a_running_client_outlives_the_time_its_tickets_were_not_renewed():
    cluster = Cluster()
    client = cluster.client()
    cluster.log_in(client)
    # The ticket's hour is over, but its secret is still among the three.
    cluster.now_ns += HOUR + 1800 * SECOND
    cluster.connect(client)
    # Now it is not: the OSD refuses.
    cluster.now_ns = START + 3 * HOUR + SECOND
    with pytest.raises(Refused):
        cluster.connect(client)
    # And when it has become hopeless, the client says so itself.
    cluster.now_ns = START + 4 * HOUR + SECOND
    with pytest.raises(AuthError, match="ended 10801 s ago"):
        cluster.connect(client)


def test_an_expired_auth_ticket_still_reclaims_the_id_while_its_secret_lives():
    cluster = Cluster()
    client = cluster.client()
    cluster.log_in(client)
    cluster.now_ns += 100 * HOUR
    cluster.log_in(client)
    assert client.global_id == 4096
    cluster.now_ns += 300 * HOUR
    with pytest.raises(Refused) as caught:
        cluster.log_in(client)
    assert caught.value.result == -errno.EACCES


def test_renewal_is_refused_without_the_auth_ticket():
    cluster = Cluster()
    client = cluster.client()
    monitor = cluster.log_in(client)
    cluster.now_ns += 400 * HOUR
    answer = monitor.handle_mauth(client.renewal_request(cluster.now_ns))
    assert (answer.result, answer.payload) == (-errno.EACCES, b"")
    with pytest.raises(AuthError, match="refuses to renew") as caught:
        client.handle_reply(answer.payload, cluster.now_ns, answer.result)
    assert caught.value.result == -errno.EACCES


def test_capabilities_are_those_of_the_time_of_issue():
    cluster = Cluster()
    client = cluster.client()
    monitor = cluster.log_in(client)
    cluster.server.put_entity(Entity("client.a", cluster.key, {"mon": "allow r", "osd": "allow *"}))
    assert cluster.connect(client)[0].caps == b"allow rw pool=rbd"
    cluster.now_ns = client.next_renewal_ns
    cluster.renew(client, monitor)
    assert cluster.connect(client)[0].caps == b"allow *"


def test_a_removed_entity_gets_nothing_more():
    cluster = Cluster()
    client = cluster.client()
    monitor = cluster.log_in(client)
    assert cluster.server.remove_entity("client.a")
    assert not cluster.server.remove_entity("client.a")
    for hours in (1, 60):
        answer = monitor.handle_mauth(client.renewal_request(START + hours * HOUR))
        assert answer.result == -errno.EACCES


def test_the_auth_epoch_makes_tickets_void():
    cluster = Cluster()
    client = cluster.client()
    monitor = cluster.log_in(client)
    assert not client.handle_auth_epoch(3)
    assert not client.handle_auth_epoch(3)
    assert not client.handle_auth_epoch(2)
    assert client.has_ticket(EntityType.OSD)
    assert client.handle_auth_epoch(4)
    with pytest.raises(AuthError):
        client.authorizer(EntityType.OSD, cluster.now_ns)
    assert client.renewal_due(cluster.now_ns)
    assert cluster.renew(client, monitor)[0] == 0x0100
    cluster.connect(client)
    assert not client.handle_auth_epoch(4)


def test_senseless_answers():
    cluster = Cluster()
    client = cluster.client()
    with pytest.raises(PeerError):
        client.handle_reply(b"\0\2\0\0\0\0", START)
    with pytest.raises(UsageError):
        client.renewal_request(START)
    cluster.log_in(client)
    for payload in (b"", b"\0\2", b"\0\4\0\0\0\0", b"\0\1\0\0\0\0", b"\0\2\0\0\0\0\1\xff\xff\xff\xff"):
        with pytest.raises(PeerError):
            client.handle_reply(payload, START)
    with pytest.raises(AuthError) as caught:
        client.handle_reply(b"\0\2\xf3\xff\xff\xff", START)
    assert caught.value.result == -13


@settings(max_examples=300)
@given(st.binary(max_size=120))
def test_any_mauth_and_any_reply(data):
    cluster, client, monitor = SESSION
    monitor.handle_mauth(data)
    for prefix in (b"", b"\0\1", b"\0\2", b"\0\4"):
        assert monitor.handle_mauth(prefix + data).result <= 0
        try:
            client.handle_reply(prefix + b"\0\0\0\0" + data, cluster.now_ns)
        except PeerError:
            pass


def _session():
    cluster = Cluster()
    client = cluster.client()
    return cluster, client, cluster.log_in(client)


SESSION = _session()


# -- what monitors give to daemons


@BOTH_TYPES
def test_rotating_secrets_for_a_daemon(key_type):
    cluster = Cluster(key_type)
    osd = CephxClient("osd.0", cluster.key, cluster.random_bytes)
    cluster.server.put_entity(Entity("osd.0", cluster.key, {"mon": "allow profile osd"}))
    monitor = cluster.log_in(osd)
    answer = monitor.handle_mauth(osd.rotating_request())
    assert answer.result == 0
    secrets = osd.open_rotating_secrets(answer.payload, answer.result)
    assert secrets == cluster.server.rotating_secrets(EntityType.OSD)
    other = CephxClient("osd.0", CryptoKey.generate(key_type, cluster.random_bytes), cluster.random_bytes)
    with pytest.raises(PeerError):
        other.open_rotating_secrets(answer.payload)


@pytest.mark.parametrize("name", ["client.a", "auth.x"])
def test_no_rotating_secrets_for_others(name):
    cluster = Cluster()
    cluster.server.put_entity(Entity(name, cluster.key, {"mon": "allow *"}))
    client = cluster.client(name)
    monitor = cluster.log_in(client)
    answer = monitor.handle_mauth(client.rotating_request())
    assert answer.result == -errno.EACCES
    with pytest.raises(AuthError, match="no rotating secrets"):
        client.open_rotating_secrets(answer.payload, answer.result)


def test_unknown_requests():
    cluster = Cluster()
    monitor = cluster.log_in(cluster.client())
    assert monitor.handle_mauth(RequestHeader(0x0300).to_bytes()).result == -errno.EINVAL
    assert monitor.handle_mauth(b"").result == -errno.EPERM
    with pytest.raises(PeerError):
        cluster.monitor().handle_mauth(RequestHeader(0x0400).to_bytes())


def test_what_is_shown_for_tickets_must_be_the_session_s_own():
    cluster = Cluster()
    cluster.server.put_entity(Entity("client.b", cluster.key, {"mon": "allow r"}))
    first, second = cluster.client(), cluster.client("client.b")
    monitor = cluster.log_in(first)
    cluster.log_in(second)
    request = second.renewal_request(START + HOUR)
    assert request[:2] == b"\0\2"
    assert monitor.handle_mauth(request).result == -errno.EACCES


def test_the_mask_of_a_login_may_hold_anything():
    cluster = Cluster()
    client = cluster.client()
    client.wanted = 0xFFFFFFFF
    monitor = cluster.monitor()
    attempt = client.mon_auth(START)
    authenticate(attempt, monitor)
    assert [issued.service for issued in attempt.issued] == [32, 1, 2, 4, 16]


@given(st.integers(0, len(fuzz_cephx.TARGETS) - 1), st.binary(max_size=120))
def test_the_fuzzer_s_targets(target, data):
    fuzz_cephx.one_input(bytes((target,)) + data)
