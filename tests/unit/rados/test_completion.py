"""AioCompletion: callbacks, waiters, cancellation, results."""

from __future__ import annotations

import asyncio

import pytest

from cove.rados import AioCompletion, Cancelled, InvalidArgument, ObjectNotFound, OutcomeUnknown, TimedOut, WriteOp

from .fake import settle


class Recorder:
    """An operation in flight that can be cancelled."""

    def __init__(self, completion: AioCompletion) -> None:
        self.completion = completion
        self.cancels = 0
        completion.bind(self)

    def cancel(self) -> None:
        self.cancels += 1
        self.completion.complete(-125)


async def test_callbacks_run_once_in_order_complete_before_safe() -> None:
    calls: list[str] = []
    completion = AioCompletion(None, "a", lambda c: calls.append("complete 1"), lambda c: calls.append("safe 1"))
    completion.on_safe(lambda c: calls.append("safe 2"))
    completion.on_complete(lambda c: calls.append(f"complete 2: {c.get_return_value()}"))
    assert not completion.is_complete()
    completion.complete(0, 5)
    assert calls == ["complete 1", "complete 2: 0", "safe 1", "safe 2"]
    completion.on_complete(lambda c: calls.append("late"))
    assert calls[-1] == "late"
    assert completion.is_complete()
    assert completion.is_safe()
    assert completion.get_version() == 5


@pytest.mark.parametrize("problem", [RuntimeError, asyncio.CancelledError])
async def test_a_failing_callback_does_not_stop_the_others(problem: type[BaseException]) -> None:
    calls: list[int] = []

    def broken(completion: AioCompletion) -> None:
        raise problem("broken")

    completion = AioCompletion(None, "a", broken)
    completion.on_complete(lambda c: calls.append(1))
    completion.complete(0)
    assert calls == [1]


async def test_pending_has_no_result() -> None:
    completion = AioCompletion(None, "a")
    with pytest.raises(InvalidArgument, match="in flight"):
        completion.get_return_value()
    assert completion.error() is None
    assert completion.get_version() == 0


async def test_await_gives_the_result_or_raises() -> None:
    done, failed = AioCompletion(WriteOp().create(), "a"), AioCompletion(WriteOp().create(), "b")
    loop = asyncio.get_running_loop()
    loop.call_soon(done.complete, 3, 9)
    loop.call_soon(failed.complete, -2)
    result = await done
    assert (result.result, result.version) == (3, 9)
    with pytest.raises(ObjectNotFound, match="create on object 'b'"):
        await failed
    assert (await done).result == 3, "a second await gives the same"


async def test_many_waiters() -> None:
    completion = AioCompletion(None, "a")
    waiters = [asyncio.ensure_future(completion.wait_for_complete()) for _ in range(3)]

    async def await_it() -> int:
        return (await completion).result

    awaiting = asyncio.ensure_future(await_it())
    await settle()
    completion.complete(1)
    await asyncio.gather(*waiters)
    assert await awaiting == 1


async def test_wait_for_complete_raises_nothing_but_its_own_time_out() -> None:
    completion = AioCompletion(None, "a")
    operation = Recorder(completion)
    with pytest.raises(TimedOut, match="goes on"):
        await completion.wait_for_complete(0.001)
    waiter = asyncio.ensure_future(completion.wait_for_complete_and_cb())
    await settle()
    waiter.cancel()
    await settle()
    assert operation.cancels == 0
    assert not completion.is_complete()
    completion.complete(-2)
    await completion.wait_for_complete()
    assert completion.get_return_value() == -2


async def test_cancelling_the_await_cancels_the_operation_once() -> None:
    completion = AioCompletion(None, "a")
    operation = Recorder(completion)

    async def await_it() -> object:
        return await completion

    first, second = asyncio.ensure_future(await_it()), asyncio.ensure_future(await_it())
    await settle()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    with pytest.raises(Cancelled):
        await second
    assert operation.cancels == 1
    assert not completion.cancel(), "done already"


async def test_unknown_outcome() -> None:
    completion = AioCompletion(WriteOp().append(b"x"), "a")
    completion.complete(-110, unknown=True)
    assert completion.get_return_value() == -110
    with pytest.raises(OutcomeUnknown, match="append on object 'a'"):
        await completion


async def test_release_drops_the_answer_but_not_the_callbacks() -> None:
    calls: list[int] = []
    completion = AioCompletion(None, "a", lambda c: calls.append(1))
    completion.release()
    completion.complete(0)
    completion.release()
    assert calls == [1]
    assert len(completion.outputs()) == 0
