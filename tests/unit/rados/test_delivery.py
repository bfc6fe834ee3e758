"""In which order the operations on one object are told: that of their submission, except for those held back here."""

from __future__ import annotations

import pytest

from cove.rados import AioCompletion, Cancelled, OutcomeUnknown, ReadOp, WriteOp
from cove.wire.messages import MMonGetVersion
from cove.wire.osdmap import MapFlag

from .fake import NO_FLAGS, FakeCluster, eventually, settle
from .test_objecter_maps import push
from .test_resubmit import redirect


class Told:
    """Submits operations on one object and notes who is told, in order."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.names: list[str] = []

    def write(self, name: str) -> AioCompletion:
        return self.cluster.ioctx.aio_operate("a", WriteOp().append(b"x"), lambda _: self.names.append(name))

    def read(self, name: str) -> AioCompletion:
        return self.cluster.ioctx.aio_operate("a", ReadOp().read(), lambda _: self.names.append(name))


async def pause_writes(cluster: FakeCluster, flags: MapFlag = MapFlag.PAUSEWR) -> None:
    epoch = cluster.mon.set_flags(flags).epoch
    push(cluster)
    await eventually(lambda: cluster.client.objecter.epoch == epoch)


async def test_a_write_that_is_held_back_does_not_hold_up_what_others_are_told(held: FakeCluster) -> None:
    told = Told(held)
    await pause_writes(held)
    writes = [told.write("write 0"), told.write("write 1")]
    reads = [told.read("read 0"), told.read("read 1")]
    await held.osd.has(2)
    held.osd.reply(1)
    await settle()
    assert told.names == [], "reads keep their order"
    held.osd.reply(0)
    for read in reads:
        await read
    assert told.names == ["read 0", "read 1"]
    await pause_writes(held, NO_FLAGS)
    await held.osd.has(4)
    held.osd.reply(3)
    held.osd.reply(2)
    for write in writes:
        await write
    assert told.names == ["read 0", "read 1", "write 0", "write 1"]
    held.assert_nothing_leaked()


async def test_what_is_sent_still_holds_up_what_is_behind_the_held(held: FakeCluster) -> None:
    """At the OSD: the first read. Held: the write. Answered: the second read."""
    told = Told(held)
    await pause_writes(held)
    first = told.read("first")
    write = told.write("write")
    last = told.read("last")
    await held.osd.has(2)
    held.osd.reply(1)
    await settle()
    assert not last.is_complete()
    held.osd.reply(0)
    await first
    assert told.names == ["first", "last"]
    assert not write.is_complete()
    write.cancel()
    held.assert_nothing_leaked()


async def test_a_write_that_is_held_back_from_now_on(held: FakeCluster) -> None:
    """The OSD dropped it, as it had the map before us; the answer to the read came."""
    told = Told(held)
    write = told.write("write")
    read = told.read("read")
    await held.osd.has(2)
    held.osd.reply(1)
    await settle()
    assert told.names == []
    await pause_writes(held)
    await read
    assert told.names == ["read"]
    await pause_writes(held, NO_FLAGS)
    await held.osd.has(3)
    held.osd.reply(2)
    await write
    held.assert_nothing_leaked()


async def test_a_homeless_write_counts_as_held_back(held: FakeCluster) -> None:
    """One that was sent on to a pool that our map does not have."""
    told = Told(held)
    write = told.write("write")
    read = told.read("read")
    await held.osd.has(2)
    held.osd.reply(1)
    await settle()
    assert told.names == []
    held.mon.silent.add(MMonGetVersion)
    redirect(held, 0, 99)
    await read
    assert told.names == ["read"]
    write.cancel()
    held.assert_nothing_leaked()


async def test_the_one_at_the_osd_is_cancelled(held: FakeCluster) -> None:
    told = Told(held)
    await pause_writes(held)
    write = told.write("write")
    first = told.read("first")
    last = told.read("last")
    await held.osd.has(2)
    held.osd.reply(1)
    await settle()
    first.cancel()
    with pytest.raises(Cancelled):
        await first
    await last
    assert told.names == ["first", "last"]
    write.cancel()
    held.assert_nothing_leaked()


async def test_the_held_one_is_cancelled(held: FakeCluster) -> None:
    """Whether it is first or in the middle, it takes no answer along."""
    told = Told(held)
    await pause_writes(held)
    writes = [told.write("write 0"), told.write("write 1")]
    first = told.read("first")
    last = told.read("last")
    await held.osd.has(2)
    held.osd.reply(1)
    await settle()
    for write in reversed(writes):
        assert write.cancel()
    await settle()
    assert told.names == ["write 1", "write 0"]
    held.osd.reply(0)
    await first
    await last
    assert told.names == ["write 1", "write 0", "first", "last"]
    held.assert_nothing_leaked()


@pytest.mark.parametrize("held_first", [True, False])
async def test_callbacks_may_cancel_everything_around(held: FakeCluster, held_first: bool) -> None:
    """Each operation is told once, and what is submitted meanwhile is not lost."""
    told = Told(held)
    await pause_writes(held)
    everything: list[AioCompletion] = []

    def cancel_all(_: AioCompletion) -> None:
        told.names.append("first")
        everything.append(told.read("new"))
        for completion in everything[:-1] if held_first else everything[-2::-1]:
            completion.cancel()

    everything.append(told.write("write"))
    everything.append(held.ioctx.aio_operate("a", ReadOp().read(), cancel_all))
    everything.append(told.write("between"))
    everything.append(told.read("second"))
    everything.append(told.read("third"))
    await held.osd.has(3)
    held.osd.reply(1)
    held.osd.reply(0)
    await eventually(lambda: len(told.names) == 5)
    assert sorted(told.names) == ["between", "first", "second", "third", "write"]
    await held.osd.has(4)
    held.osd.reply(3)
    await everything[-1]
    assert told.names[-1] == "new"
    held.assert_nothing_leaked()


async def test_shut_down_ends_those_at_the_osd_and_those_held_back(held: FakeCluster) -> None:
    told = Told(held)
    sent = told.write("sent")
    await held.osd.has(1)
    await pause_writes(held)
    waits = told.write("waits")
    read = told.read("read")
    await held.osd.has(2)
    held.osd.reply(1)
    await read
    assert told.names == ["read"]
    await held.client.shutdown()
    assert isinstance(sent.error(), OutcomeUnknown)
    assert isinstance(waits.error(), Cancelled)
