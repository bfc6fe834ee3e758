"""MonClient and MgrClient among several scripted monitors and managers."""

from __future__ import annotations

import asyncio
import errno

import pytest

from cove.rados import Cancelled, InOutError, InvalidArgument, NotConnected, OutcomeUnknown, PermissionDenied, TimedOut
from cove.rados.commands import CommandResult, encode_command
from cove.rados.monclient import DENIALS_MAX, MonClientConf
from cove.rados.monhunt import HuntConf
from cove.rados.monsub import Subscriptions
from cove.wire.messages import MMonCommand, MMonGetVersion, MMonGetVersionReply, MMonMap, MMonSubscribe, SubscribeFlag
from cove.wire.mgrmap import MgrMap
from cove.wire.monmap import encode_monmap
from cove.wire.types import EntityType

from .fake import eventually, settle
from .mons import FSID, Mons, ScriptedMgr, mon_address, monmap_of, running_mons

STATUS = {"prefix": "status", "format": "json"}


async def ready(mons: Mons) -> None:
    await mons.client.authenticate(5)
    await settle()


# session


async def test_one_of_three_wins_and_the_others_are_let_go() -> None:
    async with running_mons() as mons:
        await ready(mons)
        assert sorted(len(mon.sessions) for mon in mons.mons.values()) == [0, 0, 1]
        assert len(mons.ours.sessions) == 1
        (message,) = mons.ours.received
        assert isinstance(message, MMonSubscribe)
        assert set(message.what) == {"config", "monmap"}
        assert mons.client.config == {"debug_rados": "0/5"}
        others = [mon for mon in mons.mons.values() if mon is not mons.ours]
        assert not any(mon.received for mon in others)


async def test_fail_over_asks_again_what_was_open() -> None:
    async with running_mons(monmap=monmap_of("abc", epoch=5)) as mons:
        await ready(mons)
        first = mons.ours
        first.silent |= {MMonGetVersion, MMonCommand}
        version = mons.client.get_version("osdmap")
        command = asyncio.ensure_future(mons.client.mon_command(FSID, STATUS, b"in", 5))
        mons.client.sub_want("osdmap", 3, SubscribeFlag.ONETIME)
        mons.client.renew_subs()
        await settle()
        asked = first.of_type(MMonGetVersion)[0], first.of_type(MMonCommand)[0]
        await first.messenger.shutdown()
        assert await asyncio.wait_for(version, 5) == (7, 1)
        result = await asyncio.wait_for(command, 5)
        second = mons.ours
        assert second is not first
        assert result.check().json() == {"by": second.name}
        again = second.of_type(MMonGetVersion)[0], second.of_type(MMonCommand)[0]
        assert [message.tid for message in again] == [message.tid for message in asked]
        assert again[1].indata == b"in"
        (subscribe,) = second.of_type(MMonSubscribe)
        assert {what: sub.start for what, sub in subscribe.what.items()} == {"config": 0, "monmap": 6, "osdmap": 3}


async def test_monitors_of_the_map_are_found_when_the_configured_one_goes() -> None:
    async with running_mons("abc", "a", monmap=monmap_of("abc")) as mons:
        await ready(mons)
        assert mons.ours.name == "a"
        assert mons.client.fsid == FSID
        await mons.ours.messenger.shutdown()
        await eventually(lambda: mons.client.is_open and mons.ours.name in "bc")


async def test_a_map_without_our_monitor_ends_the_session() -> None:
    async with running_mons("abc", "a", monmap=monmap_of("abc")) as mons:
        await ready(mons)
        mons.ours.tell_monmap(monmap_of("bc", epoch=2))
        await eventually(lambda: mons.client.is_open and mons.ours.name != "a")
        assert not mons.mons["a"].sessions


async def test_old_and_foreign_maps_change_nothing() -> None:
    async with running_mons("abc", "a", monmap=monmap_of("abc", epoch=3)) as mons:
        await ready(mons)
        mons.ours.tell_monmap(monmap_of("bc", epoch=2))
        foreign = MMonMap(monmap=encode_monmap(monmap_of("bc", epoch=9)).replace(FSID.bytes, bytes(16)))
        mons.ours.tell(foreign)
        mons.ours.tell(MMonMap(monmap=b"rubbish"))
        await settle()
        assert mons.client.monmap is not None
        assert mons.client.monmap.epoch == 3
        assert mons.ours.name == "a"


async def test_a_silent_monitor_is_left() -> None:
    async with running_mons("ab") as mons:
        await ready(mons)
        for _ in range(10):
            mons.client.tick()
        first, connection = mons.ours, mons.connection
        connection.send_keepalive = lambda: None  # type: ignore[method-assign]
        connection.last_keepalive_ack_s = 0.0
        mons.client.tick()
        assert mons.connection is connection, "one unanswered keep-alive is not enough"
        await first.messenger.shutdown()  # it must not win again
        mons.client.tick()
        assert not mons.client.is_open
        await eventually(lambda: mons.client.is_open)
        assert mons.ours is not first
        assert "no sign of life" in mons.client.hunt.report()


async def test_health_makes_the_next_hunt_quick_again() -> None:
    async with running_mons("a") as mons:
        await ready(mons)
        mons.client.hunt.multiple = 4.0
        mons.client.tick()
        assert mons.client.hunt.multiple == 4.0
        mons.client.tick()
        assert mons.client.hunt.multiple < 4.0


async def test_messages_of_other_monitors_are_ignored() -> None:
    async with running_mons("ab") as mons:
        await ready(mons)
        other = next(mon for mon in mons.mons.values() if mon is not mons.ours)
        mons.ours.silent.add(MMonGetVersion)
        version = mons.client.get_version("osdmap")
        mons.messenger.connect_to(other.address, EntityType.MON)
        await settle()
        handle = next(iter(mons.client._versions))
        other.tell(MMonGetVersionReply(tid=handle, handle=handle, version=99, oldest_version=1))
        await settle()
        assert not version.done()
        mons.ours.tell(MMonGetVersionReply(tid=handle, handle=handle, version=8, oldest_version=1))
        assert await version == (8, 1)


async def test_shutdown_fails_what_is_open() -> None:
    async with running_mons("a") as mons:
        await ready(mons)
        mons.ours.silent |= {MMonGetVersion, MMonCommand}
        version = mons.client.get_version("osdmap")
        command = asyncio.ensure_future(mons.client.mon_command(FSID, STATUS, b"", 5))
        await settle()
        mons.client.shutdown()
        with pytest.raises(Cancelled):
            await version
        with pytest.raises(Cancelled):
            await command
        with pytest.raises(NotConnected):
            mons.client.get_version("osdmap")
        await settle()
        assert not mons.messenger.connections


# refused logins


async def test_a_login_that_all_refuse_ends_at_once() -> None:
    async with running_mons("ab", conf=MonClientConf(hunt=HuntConf(pause_s_min=60)), denied="ab") as mons:
        with pytest.raises(
            PermissionDenied, match=r"wrong key or unknown user.*v2:127.0.0.1:3300/0: login refused"
        ) as caught:
            await mons.client.authenticate(5)
        assert caught.value.errno == errno.EACCES


async def test_one_monitor_that_lets_us_in_is_enough() -> None:
    async with running_mons("abc", denied="ab") as mons:
        await mons.client.authenticate(5)
        assert mons.ours.name == "c"


async def test_refusals_after_a_session_end_with_a_new_identity() -> None:
    async with running_mons("a") as mons:
        await ready(mons)
        forgotten: list[int] = []
        mons.client.on_new_identity.append(lambda: forgotten.append(mons.messenger.denials))

        class Auth:
            name = "client.a"
            global_id = 7

            def renewal_due_in_s(self) -> float:
                return float("inf")

            def forget(self, connection: object) -> None:
                pass

            def forget_identity(self) -> None:
                mons.messenger.denied.clear()

            def adopt(self, connection: object) -> None:
                self.global_id = 8

        mons.client.auth = Auth()  # type: ignore[assignment]
        mons.messenger.denied.add(mon_address("a"))
        mons.ours.cut()
        await eventually(lambda: forgotten and mons.client.is_open)
        assert forgotten == [DENIALS_MAX, DENIALS_MAX]  # when the old one is given up, and when the new one is there
        assert mons.messenger.name.number == 8


async def test_another_identity_from_a_monitor_is_told() -> None:
    """What was sent under the old one can't be repeated."""
    numbers = iter((4242, 4242, 4243))

    class Auth:
        name = "client.a"
        global_id = 0

        def renewal_due_in_s(self) -> float:
            return float("inf")

        def adopt(self, connection: object) -> None:
            self.global_id = next(numbers)

        def forget(self, connection: object) -> None:
            pass

    async with running_mons("a", auth=Auth()) as mons:  # type: ignore[arg-type]
        told: list[int] = []
        mons.client.on_new_identity.append(lambda: told.append(mons.messenger.name.number))
        await ready(mons)
        for expected in ([], [4242]):
            mons.ours.cut()
            await eventually(lambda: not mons.client.is_open)
            await eventually(lambda: mons.client.is_open)
            assert told == expected
        assert mons.messenger.name.number == 4243


async def test_no_answer_names_everybody() -> None:
    async with running_mons("a", "abz") as mons:
        await mons.mons["a"].messenger.shutdown()
        with pytest.raises(TimedOut, match=r"127.0.0.1.*nobody listens.*127.0.0.2.*nobody listens.*127.0.0.26"):
            await mons.client.authenticate(0.02)


# subscriptions


def test_subscriptions() -> None:
    subs = Subscriptions()
    assert subs.want("osdmap", 5, SubscribeFlag.ONETIME)
    assert not subs.want("osdmap", 5, SubscribeFlag.ONETIME), "the same once more"
    assert subs.want("monmap", 0)
    assert set(subs.take_unsent()) == {"osdmap", "monmap"}
    assert not subs.take_unsent()
    subs.got("osdmap", 4)
    subs.got("monmap", 8)
    subs.forget_sent()
    assert {what: sub.start for what, sub in subs.take_unsent().items()} == {"osdmap": 5, "monmap": 9}
    subs.got("osdmap", 6)
    subs.forget_sent()
    assert set(subs.take_unsent()) == {"monmap"}
    subs.got("unknown", 1)


# commands


async def test_commands_and_their_results() -> None:
    async with running_mons("a") as mons:
        await ready(mons)
        assert (await mons.client.mon_command(FSID, '{"prefix": "status"}', b"", 5)).json() == {"by": "a"}
        failed = await mons.client.mon_command(FSID, {"prefix": "nonsense"}, b"", 5)
        assert failed[:2] == (-22, "command not known")
        with pytest.raises(InvalidArgument, match=r"command 'nonsense'.*command not known"):
            failed.check()
        assert len(mons.client.commands) == 0


async def test_commands_time_out() -> None:
    async with running_mons("a", "z") as mons:
        with pytest.raises(TimedOut, match="command 'status': no session with the monitor"):
            await mons.client.mon_command(FSID, STATUS, b"", 0.01)
    async with running_mons("a") as mons:
        await ready(mons)
        mons.ours.silent.add(MMonCommand)
        with pytest.raises(OutcomeUnknown, match=r"command 'auth add'.*may have been done") as caught:
            await mons.client.mon_command(FSID, {"prefix": "auth add", "key": "AQsecret"}, b"secret", 0.01)
        assert "secret" not in str(caught.value)
        assert len(mons.client.commands) == 0


@pytest.mark.parametrize("command", ["", "[]", "{", '"status"', {}, {"prefix": 1}, {"prefix": ""}, {"prefix": b"a"}])
def test_what_is_no_command(command: str | dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        encode_command(command, b"")
    with pytest.raises(InvalidArgument, match="16 MiB"):
        encode_command({"prefix": "a"}, bytes(17 << 20))


def test_output_that_is_no_json() -> None:
    with pytest.raises(InOutError, match="no JSON"):
        CommandResult(0, "", b"plain text", "command 'status'").json()


# managers


async def test_a_manager_is_looked_for_only_when_wanted() -> None:
    async with running_mons("a") as mons:
        mgr = ScriptedMgr(mons.network, "x", 6800)
        mons.ours_map = mons.mons["a"].mgrmap = mgr.active(3)  # type: ignore[attr-defined]
        await ready(mons)
        assert not mgr.messenger.connections
        result = await mons.mgrclient.command(FSID, {"prefix": "pg stat"}, b"", 5)
        assert result.check().outbuf == b"x"
        assert [set(message.what) for message in mons.ours.of_type(MMonSubscribe)][1:] == [{"mgrmap"}]
        await mons.mgrclient.command(FSID, {"prefix": "pg stat"}, b"", 5)
        assert len(mgr.messenger.connections) == 1
        await mgr.messenger.shutdown()


async def test_no_manager_is_a_clear_error() -> None:
    async with running_mons("a") as mons:
        await ready(mons)
        mons.ours.silent.add(MMonSubscribe)
        with pytest.raises(TimedOut, match="command 'pg stat': the monitors sent no manager map"):
            await mons.mgrclient.command(FSID, {"prefix": "pg stat"}, b"", 0.01)
        mons.ours.tell_mgrmap(MgrMap(epoch=1))
        await settle()
        with pytest.raises(TimedOut, match="no manager was active"):
            await mons.mgrclient.command(FSID, {"prefix": "pg stat"}, b"", 0.01)
        away = ScriptedMgr(mons.network, "away", 6801)
        await away.messenger.shutdown()
        mons.ours.tell_mgrmap(away.active(2))
        await settle()
        with pytest.raises(TimedOut, match="manager away could not be reached"):
            await mons.mgrclient.command(FSID, {"prefix": "pg stat"}, b"", 0.01)


async def test_what_one_manager_was_told_is_not_told_to_another() -> None:
    async with running_mons() as mons:
        await ready(mons)
        first, second = ScriptedMgr(mons.network, "x", 6800), ScriptedMgr(mons.network, "y", 6801)
        first.silent = True
        mons.ours.mgrmap = first.active(1)
        told = asyncio.ensure_future(mons.mgrclient.command(FSID, {"prefix": "version"}, b"", 5, "x"))
        asked = asyncio.ensure_future(mons.mgrclient.command(FSID, {"prefix": "pg stat"}, b"", 5))
        await eventually(lambda: len(first.received) == 2)
        mons.ours.tell_mgrmap(second.active(2))
        assert (await asked).outbuf == b"y"
        result = await told
        assert (result.result, result.status) == (-errno.ENXIO, "mgr.x is no longer the active manager, mgr.y is")
        assert len(second.received) == 1
        assert len(mons.mgrclient.requests) == 0
        for mgr in (first, second):
            await mgr.messenger.shutdown()


async def test_commands_follow_the_active_manager() -> None:
    async with running_mons("a") as mons:
        first, second = ScriptedMgr(mons.network, "x", 6800), ScriptedMgr(mons.network, "y", 6801)
        await ready(mons)
        first.silent = True
        mons.mons["a"].mgrmap = first.active(1)
        command = asyncio.ensure_future(mons.mgrclient.command(FSID, {"prefix": "pg stat"}, b"", 5))
        await eventually(lambda: first.received)
        for connection in list(first.messenger.connections):
            connection.cut()
        await eventually(lambda: len(first.received) == 2)
        mons.ours.tell_mgrmap(second.active(2))
        assert (await command).outbuf == b"y"
        assert [message.tid for message in (*first.received, *second.received)] == [1, 1, 1]
        assert not first.messenger.connections
        second.silent = True
        with pytest.raises(OutcomeUnknown):
            await mons.mgrclient.command(FSID, {"prefix": "pg stat"}, b"", 0.01)
        for mgr in (first, second):
            await mgr.messenger.shutdown()
