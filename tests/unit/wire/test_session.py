"""Sessions by themselves: numbers, what is kept, and the rules by which an acceptor finds one again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.wire import control, session
from cove.wire.address import AddrVec, EntityAddr
from cove.wire.errors import PeerError, UsageError
from cove.wire.features import SUPPORTED
from cove.wire.session import (
    LOSSLESS_CLIENT,
    LOSSLESS_PEER,
    LOSSLESS_PEER_REUSE,
    LOSSY_CLIENT,
    STATEFUL_SERVER,
    STATELESS_REGISTERED_SERVER,
    STATELESS_SERVER,
    Admission,
    AfterFault,
    GlobalSequence,
    Policy,
    Session,
    SessionRegistry,
    SessionState,
)

from .links import MON, parts

LOW: AddrVec = (EntityAddr.of("127.0.0.1", 6800, 1),)
HIGH: AddrVec = (EntityAddr.of("127.0.0.1", 6800, 2),)
ME = LOW


def ident(addrs: AddrVec = HIGH, global_seq: int = 10, cookie: int = 0) -> control.ClientIdent:
    return control.ClientIdent(addrs, MON, 1, global_seq, SUPPORTED, 0, 0, cookie)


def reconnect(addrs: AddrVec = HIGH, **fields: int) -> control.SessionReconnect:
    values = {"client_cookie": 5, "server_cookie": 6, "global_seq": 11, "connect_seq": 1, "msg_seq": 0}
    return control.SessionReconnect(addrs, **(values | fields))


def admit(registry: SessionRegistry, policy: Policy, request: control.ClientIdent, entity: str = "osd.1") -> Admission:
    """Admitted, and set up as the handshake does it."""
    answer = registry.admit(request, policy, ME, entity)
    assert isinstance(answer, Admission)
    answer.session.link = object()
    answer.session.state = SessionState.READY
    answer.session.server_cookie = 0 if policy.lossy else 6
    return answer


# --- one session -----------------------------------------------------------------------------------------------------


def test_numbers_and_what_is_kept() -> None:
    lossless = Session(LOSSLESS_PEER)
    for tid in range(5):
        lossless.keep(parts(tid))
    assert lossless.out_seq == lossless.unacked_messages == 5
    lossless.acknowledged(3)
    lossless.acknowledged(2)
    assert [(seq, message.tid) for seq, message in lossless.unacked()] == [(4, 3), (5, 4)]
    lossless.acknowledged(1 << 63)
    assert lossless.unacked_messages == 0
    assert lossless.out_seq == 5


def test_a_reset_in_full_forgets_everything_a_half_one_only_the_peers_part() -> None:
    for full in (True, False):
        one = Session(LOSSLESS_PEER, global_seqs=GlobalSequence(7))
        one.client_cookie, one.server_cookie, one.connect_seq, one.in_seq = 1, 2, 3, 4
        one.keep(parts(1))
        one.reset(full)
        assert (one.server_cookie, one.connect_seq, one.in_seq) == (0, 0, 0)
        assert (one.client_cookie, one.out_seq, one.unacked_messages) == ((0, 0, 0) if full else (1, 1, 1))


def test_attempts_are_numbered_throughout_the_process() -> None:
    seqs = GlobalSequence()
    one, other = Session(LOSSY_CLIENT, global_seqs=seqs), Session(LOSSLESS_PEER, global_seqs=seqs)
    other.server_cookie = 9
    one.begin_attempt()
    other.begin_attempt()
    other.begin_attempt()
    assert (one.global_seq, other.global_seq) == (1, 3)
    # attempts to resume are counted for the session, too
    assert (one.connect_seq, other.connect_seq) == (0, 2)
    assert seqs.next_after(100) == 101
    assert seqs.next_after(50) == 102
    with pytest.raises(PeerError, match="global_seq"):
        seqs.next_after(2**64 - 1)


def test_what_waits_for_acknowledgement_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "UNACKED_MESSAGES_MAX", 3)
    monkeypatch.setattr(session, "UNACKED_BYTES_MAX", 100)
    one = Session(LOSSLESS_PEER)
    one.check_room(parts(1, b"", data=[b"x" * 60, b"y" * 40]))
    with pytest.raises(UsageError, match="not acknowledged"):
        one.check_room(parts(1, b"1", data=[b"x" * 60, b"y" * 40]))
    for tid in range(3):
        one.keep(parts(tid, b"x"))
    with pytest.raises(UsageError, match="3 messages of 3 bytes"):
        one.check_room(parts(3, b""))
    one.acknowledged(1)
    one.check_room(parts(3, b""))


@pytest.mark.parametrize(
    ("policy", "unacked", "after"),
    [
        (LOSSY_CLIENT, False, AfterFault.CLOSE),
        (STATELESS_SERVER, False, AfterFault.CLOSE),
        (STATELESS_REGISTERED_SERVER, False, AfterFault.CLOSE),
        (LOSSLESS_CLIENT, False, AfterFault.DIAL),
        (LOSSLESS_CLIENT, True, AfterFault.DIAL),
        (STATEFUL_SERVER, False, AfterFault.STANDBY),
        (STATEFUL_SERVER, True, AfterFault.STANDBY),
        (LOSSLESS_PEER, False, AfterFault.STANDBY),
        (LOSSLESS_PEER, True, AfterFault.DIAL),
    ],
)
def test_what_a_lost_connection_leads_to(policy: Policy, unacked: bool, after: AfterFault) -> None:
    one = Session(policy)
    if unacked:
        one.keep(parts(1))
    assert one.fault() is after
    assert one.state is (SessionState.CLOSED if after is AfterFault.CLOSE else SessionState.STANDBY)
    assert one.unacked_messages == unacked


# --- CLIENT_IDENT ----------------------------------------------------------------------------------------------------


def test_lossy_sessions_that_are_not_registered_do_not_know_each_other() -> None:
    registry = SessionRegistry()
    first = admit(registry, STATELESS_SERVER, ident(global_seq=10))
    second = admit(registry, STATELESS_SERVER, ident(global_seq=3))
    assert first.session is not second.session
    assert first.replaces is second.replaces is None
    assert len(registry) == 0


def test_registered_sessions_replace_each_other_unless_they_are_older() -> None:
    registry = SessionRegistry()
    first = admit(registry, STATELESS_REGISTERED_SERVER, ident(global_seq=10))
    link = first.session.link
    second = admit(registry, STATELESS_REGISTERED_SERVER, ident(global_seq=10))
    assert second.replaces is link
    assert first.session.state is SessionState.CLOSED
    with pytest.raises(PeerError, match="global_seq 9 after 10"):
        registry.admit(ident(global_seq=9), STATELESS_REGISTERED_SERVER, ME, "osd.1")
    assert admit(registry, STATELESS_REGISTERED_SERVER, ident(LOW, global_seq=1)).replaces is None
    assert len(registry) == 2


def test_a_restarted_peer_gets_a_fresh_session() -> None:
    registry = SessionRegistry()
    old = admit(registry, LOSSLESS_PEER_REUSE, ident(cookie=5)).session
    old.keep(parts(1))
    old.in_seq = 3
    link = old.link
    again = admit(registry, LOSSLESS_PEER_REUSE, ident(cookie=77, global_seq=1000))
    assert again == (old, link)
    assert (old.client_cookie, old.in_seq, old.out_seq, old.unacked_messages) == (77, 0, 0, 0)


def test_without_reset_check_its_messages_are_kept() -> None:
    registry = SessionRegistry()
    old = admit(registry, LOSSLESS_PEER, ident(cookie=5)).session
    old.keep(parts(1))
    admit(registry, LOSSLESS_PEER, ident(cookie=77))
    assert (old.out_seq, old.unacked_messages) == (1, 1)


def test_a_peer_that_missed_our_ident_gets_the_same_session() -> None:
    registry = SessionRegistry()
    old = admit(registry, LOSSLESS_PEER_REUSE, ident(cookie=5)).session
    old.keep(parts(1))
    assert admit(registry, LOSSLESS_PEER_REUSE, ident(cookie=5, global_seq=11)).session is old
    assert old.unacked_messages == 1
    assert old.peer_global_seq == 11


def test_somebody_else_at_the_same_address_gets_nothing_of_it() -> None:
    registry = SessionRegistry()
    old = admit(registry, LOSSLESS_PEER_REUSE, ident(cookie=5), "osd.1").session
    old.keep(parts(1))
    new = admit(registry, LOSSLESS_PEER_REUSE, ident(cookie=5), "osd.2").session
    assert new is not old
    assert new.unacked_messages == 0
    assert registry.find(HIGH) is new
    assert registry.resume(reconnect(), LOSSLESS_PEER_REUSE, ME, "osd.1") == control.SessionReset(full=True)


@pytest.mark.parametrize(
    ("peer", "me", "policy", "waits"),
    [
        (HIGH, LOW, LOSSLESS_PEER, True),
        (LOW, HIGH, LOSSLESS_PEER, False),
        (HIGH, LOW, STATEFUL_SERVER, False),
    ],
)
def test_when_both_dial_addresses_decide(peer: AddrVec, me: AddrVec, policy: Policy, waits: bool) -> None:
    registry = SessionRegistry()
    ours = Session(policy, me)
    ours.entity = "osd.1"
    ours.client_cookie = 3
    registry.add(peer, ours)
    answer = registry.admit(ident(peer, cookie=5), policy, me, "osd.1")
    assert answer == (control.Wait() if waits else Admission(ours, None))


def test_a_newer_incarnation_wins_over_a_session_that_is_not_up() -> None:
    registry = SessionRegistry()
    ours = Session(LOSSLESS_PEER, LOW)
    ours.entity, ours.client_cookie, ours.peer_global_seq = "osd.1", 3, 50
    registry.add(HIGH, ours)
    assert admit(registry, LOSSLESS_PEER, ident(cookie=5, global_seq=1)).session is not ours
    assert ours.state is SessionState.CLOSED


def test_sessions_are_bounded() -> None:
    registry = SessionRegistry(sessions_max=1)
    kept = admit(registry, LOSSLESS_PEER, ident(cookie=5))
    with pytest.raises(PeerError, match="1 sessions"):
        registry.admit(ident(LOW, cookie=5), LOSSLESS_PEER, ME, "osd.0")
    registry.drop(kept.session)
    assert len(registry) == 0
    admit(registry, LOSSLESS_PEER, ident(LOW, cookie=5))


# --- SESSION_RECONNECT -----------------------------------------------------------------------------------------------


def registered(policy: Policy = STATEFUL_SERVER) -> tuple[SessionRegistry, Session]:
    """A session with client cookie 5, server cookie 6, global_seq 10, connect_seq 0, three messages unacknowledged."""
    registry = SessionRegistry()
    one = admit(registry, policy, ident(cookie=5)).session
    for tid in range(3):
        one.keep(parts(tid))
    return registry, one


@pytest.mark.parametrize(
    ("policy", "fields", "answer"),
    [
        (STATEFUL_SERVER, {"client_cookie": 99}, control.SessionReset(full=True)),
        (LOSSLESS_PEER, {"client_cookie": 99}, control.SessionReset(full=False)),
        (STATEFUL_SERVER, {"global_seq": 9}, control.SessionRetryGlobal(10)),
        (STATEFUL_SERVER, {"global_seq": 9, "client_cookie": 99}, control.SessionReset(full=True)),
    ],
)
def test_what_a_reconnect_is_refused_with(policy: Policy, fields: dict[str, int], answer: control.Control) -> None:
    registry, one = registered(policy)
    assert registry.resume(reconnect(HIGH, **fields), policy, ME, "osd.1") == answer
    assert one.link is not None


def test_unknown_sessions_are_reset() -> None:
    registry, one = registered()
    assert registry.resume(reconnect(LOW), STATEFUL_SERVER, ME, "osd.1") == control.SessionReset(full=True)
    registry.drop(one)
    assert registry.resume(reconnect(), STATEFUL_SERVER, ME, "osd.1") == control.SessionReset(full=True)


def test_a_session_without_server_cookie_is_reset_in_half() -> None:
    registry, one = registered()
    one.server_cookie = 0
    assert registry.resume(reconnect(), STATEFUL_SERVER, ME, "osd.1") == control.SessionReset(full=False)


def test_an_older_attempt_must_try_again() -> None:
    registry, one = registered()
    one.connect_seq = 4
    assert registry.resume(reconnect(connect_seq=3), STATEFUL_SERVER, ME, "osd.1") == control.SessionRetry(4)


@pytest.mark.parametrize(
    ("peer", "me", "policy", "waits"),
    [(HIGH, LOW, LOSSLESS_PEER, True), (LOW, HIGH, LOSSLESS_PEER, False), (HIGH, LOW, STATEFUL_SERVER, False)],
)
def test_two_attempts_of_the_same_number(peer: AddrVec, me: AddrVec, policy: Policy, waits: bool) -> None:
    registry = SessionRegistry()
    one = admit(registry, policy, ident(peer, cookie=5)).session
    one.connect_seq = 1
    answer = registry.resume(reconnect(peer, connect_seq=1), policy, me, "osd.1")
    assert (answer == control.Wait()) is waits
    assert isinstance(answer, Admission) is not waits


def test_a_session_is_taken_over_with_what_the_peer_has_not_seen() -> None:
    registry, one = registered()
    link = one.link
    # the server cookie is not compared
    answer = registry.resume(reconnect(msg_seq=2, server_cookie=12345), STATEFUL_SERVER, ME, "osd.1")
    assert answer == Admission(one, link)
    assert [seq for seq, _ in one.unacked()] == [3]
    assert (one.connect_seq, one.peer_global_seq) == (1, 11)


def test_attempts_that_could_not_be_counted_on_are_refused() -> None:
    registry, one = registered()
    with pytest.raises(PeerError, match="connect_seq"):
        registry.resume(reconnect(connect_seq=2**64 - 1), STATEFUL_SERVER, ME, "osd.1")
    assert one.connect_seq < 2**63


@given(
    policy=st.sampled_from([STATEFUL_SERVER, LOSSLESS_PEER, LOSSLESS_PEER_REUSE, STATELESS_SERVER, LOSSY_CLIENT]),
    seen=st.tuples(*[st.integers(0, 3)] * 4),
    asked=st.tuples(*[st.integers(0, 3)] * 4),
)
def test_every_request_has_exactly_one_answer(
    policy: Policy, seen: tuple[int, int, int, int], asked: tuple[int, int, int, int]
) -> None:
    registry = SessionRegistry()
    one = Session(policy, ME)
    one.client_cookie, one.server_cookie, one.peer_global_seq, one.connect_seq = seen
    one.entity, one.state = "osd.1", SessionState.READY
    registry.add(HIGH, one)
    request = reconnect(client_cookie=asked[0], server_cookie=asked[1], global_seq=asked[2], connect_seq=asked[3])
    answer = registry.resume(request, policy, ME, "osd.1")
    if isinstance(answer, Admission):
        assert asked[0] == seen[0]
        assert asked[2] >= seen[2]
        assert asked[3] >= seen[3]
    else:
        assert isinstance(
            answer, (control.SessionReset, control.SessionRetry, control.SessionRetryGlobal, control.Wait)
        )
