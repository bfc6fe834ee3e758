"""The checker of histories is checked itself: against trying all orders, and with histories that must (not) pass."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.linearizability import (
    ABSENT,
    DONE,
    GONE,
    MISMATCH,
    NO_TAG,
    Answer,
    History,
    Kind,
    NotLinearizable,
    Operation,
    State,
    Status,
    Undecided,
    check_object,
    step,
)

OID = "o"


def operation(
    kind: Kind,
    invoked: int,
    returned: int,
    answer: Answer | State | None = None,
    value: int = 0,
    expected: int = NO_TAG,
    status: Status = Status.OK,
) -> Operation:
    return Operation(kind, OID, value, expected, invoked, returned, status, answer)


def passes(operations: Sequence[Operation]) -> bool:
    try:
        check_object(operations)
    except NotLinearizable:
        return False
    return True


def passes_by_trying_all_orders(operations: Sequence[Operation]) -> bool:
    """The definition, word by word."""
    answered = [op for op in operations if op.status is Status.OK]
    unknown = [op for op in operations if op.status is Status.UNKNOWN and op.kind is not Kind.READ]
    for count in range(len(unknown) + 1):
        for happened in itertools.combinations(unknown, count):
            for order in itertools.permutations((*answered, *happened)):
                if _is_possible(order):
                    return True
    return False


def _is_possible(order: Sequence[Operation]) -> bool:
    state = GONE
    for index, op in enumerate(order):
        for later in order[index + 1 :]:
            if later.status is Status.OK and later.returned is not None and later.returned < op.invoked:
                return False
        state, answer = step(state, op)
        if op.status is Status.OK and answer != op.answer:
            return False
    return True


# against the definition


@st.composite
def any_history(draw: st.DrawFn) -> list[Operation]:
    """A few operations anywhere in time, with whatever answers."""
    count = draw(st.integers(1, 5))
    times = iter(draw(st.permutations(range(1, 2 * count + 1))))
    operations = []
    values = range(1, count + 1)
    for value in values:
        kind = draw(st.sampled_from(Kind))
        invoked, returned = sorted((next(times), next(times)))
        status = draw(st.sampled_from((Status.OK, Status.OK, Status.OK, Status.UNKNOWN)))
        tags = st.sampled_from((NO_TAG, *values))
        shown = st.builds(State, st.lists(st.sampled_from(values), max_size=3, unique=True).map(tuple), tags)
        answers: dict[Kind, st.SearchStrategy[Answer | State]] = {
            Kind.READ: shown | st.just(ABSENT),
            Kind.REMOVE: st.sampled_from((DONE, ABSENT)),
            Kind.GUARDED: st.sampled_from((DONE, MISMATCH, ABSENT)),
        }
        answer = draw(answers.get(kind, st.just(DONE))) if status is Status.OK else None
        own = 0 if kind in (Kind.READ, Kind.REMOVE) else value
        operations.append(operation(kind, invoked, returned, answer, own, draw(tags), status))
    return operations


@settings(max_examples=300)
@given(any_history())
def test_the_verdict_is_that_of_the_definition(operations: list[Operation]) -> None:
    assert passes(operations) == passes_by_trying_all_orders(operations)


# histories of a real execution


class Execution:
    """Operations that were executed one after the other, seen by callers who waited a while before and after."""

    def __init__(self, dice: random.Random, count: int, overlap: float, unknown: float, appends: float = 0.3) -> None:
        self.dice = dice
        self.operations: list[Operation] = []
        rest = (1 - appends) / 4
        weights = {Kind.READ: 2 * rest, Kind.APPEND: appends, Kind.WRITE_FULL: rest, Kind.GUARDED: rest}
        kinds = dice.choices([*weights, Kind.REMOVE], [*weights.values(), rest / 3], k=count)
        state = GONE
        events: list[tuple[float, Operation, bool]] = []
        for index, kind in enumerate(kinds):
            value = 0 if kind in (Kind.READ, Kind.REMOVE) else index + 1
            expected = state.tag if dice.random() < 0.7 else dice.choice((NO_TAG, max(1, index - 2)))
            op = operation(kind, 0, 0, None, value, expected)
            if dice.random() < unknown:
                op.status = Status.UNKNOWN
            point = index + dice.random() / 2
            if op.status is Status.OK or dice.random() < 0.5:
                state, answer = step(state, op)
                op.answer = answer if op.status is Status.OK else None
            events.append((point - dice.expovariate(1 / overlap), op, True))
            events.append((point + dice.expovariate(1 / overlap), op, False))
            self.operations.append(op)
        events.sort(key=lambda event: event[0])
        for number, (_, op, begins) in enumerate(events):
            if begins:
                op.invoked = number
            else:
                op.returned = number

    def reads(self) -> list[Operation]:
        return [op for op in self.operations if op.kind is Kind.READ and isinstance(op.answer, State)]


SEEDS = st.integers(0, 2**32)


@settings(max_examples=100, deadline=None)
@given(SEEDS, st.integers(1, 60), st.floats(0.01, 6), st.floats(0, 0.4))
def test_what_was_executed_passes(seed: int, count: int, overlap: float, unknown: float) -> None:
    check_object(Execution(random.Random(seed), count, overlap, unknown).operations)


def mutated(mutate: Callable[[Execution], bool], seed: int, overlap: float, unknown: float) -> list[Operation]:
    """A history that the mutation could be applied to."""
    dice = random.Random(seed)
    for _ in range(1000):
        execution = Execution(dice, 40, overlap, unknown)
        if mutate(execution):
            return execution.operations
    raise AssertionError("there was nothing to mutate")


def double_an_append(execution: Execution) -> bool:
    """A repeated request was executed twice."""
    for op in execution.reads():
        assert isinstance(op.answer, State)
        if op.answer.data:
            op.answer = State((*op.answer.data, op.answer.data[-1]), op.answer.tag)
            return True
    return False


def invent_a_value(execution: Execution) -> bool:
    for op in execution.reads():
        assert isinstance(op.answer, State)
        op.answer = State((*(op.answer.data or ()), 9999), op.answer.tag)
        return True
    return False


def deny_a_write_that_was_seen(execution: Execution) -> bool:
    """The caller was told that it did not happen."""
    shown = {value for op in execution.reads() if isinstance(op.answer, State) for value in op.answer.data or ()}
    for op in execution.operations:
        if op.value in shown:
            op.status, op.answer = Status.FAILED, None
            return True
    return False


def swap_two_values(execution: Execution) -> bool:
    """Order differs from one answer to another."""
    reads = [op for op in execution.reads() if isinstance(op.answer, State) and len(op.answer.data or ()) >= 2]
    for first, second in itertools.pairwise(reads):
        assert isinstance(first.answer, State)
        assert isinstance(second.answer, State)
        a, b = first.answer.data or (), second.answer.data or ()
        if a[:2] == b[:2]:
            second.answer = State((b[1], b[0], *b[2:]), second.answer.tag)
            return True
    return False


@pytest.mark.parametrize(
    "mutate", [double_an_append, invent_a_value, deny_a_write_that_was_seen, swap_two_values], ids=lambda f: f.__name__
)
@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, overlap=st.floats(0.01, 4), unknown=st.floats(0, 0.3))
def test_what_no_order_explains_is_rejected(
    mutate: Callable[[Execution], bool], seed: int, overlap: float, unknown: float
) -> None:
    assert not passes(mutated(mutate, seed, overlap, unknown))


def shifted(operations: Sequence[Operation], positions: int, values: int) -> list[Operation]:
    """The same, later, and with other values."""
    for op in operations:
        op.invoked, op.returned = op.invoked + positions, (op.returned or 0) + positions
        op.value, op.expected = op.value and op.value + values, op.expected and op.expected + values
        if isinstance(op.answer, State):
            data, tag = op.answer
            op.answer = State(tuple(value + values for value in data or ()), tag and tag + values)
    return list(operations)


def among_others(seed: int, middle: Sequence[Operation]) -> list[Operation]:
    """Concurrent operations; a new object, on which some follow one another; and again concurrent ones."""
    dice = random.Random(seed)
    found = Execution(dice, 25, 2, 0).operations
    for values, operations in ((1000, middle), (2000, Execution(dice, 25, 2, 0).operations)):
        end = max(op.returned or 0 for op in found)
        found.append(operation(Kind.APPEND, end + 1, end + 2, DONE, values))
        found.append(operation(Kind.REMOVE, end + 3, end + 4, DONE))
        found += shifted(operations, end + 5 - min(op.invoked for op in operations), values)
    return found


def a_good_one() -> list[Operation]:
    return [
        operation(Kind.WRITE_FULL, 1, 2, DONE, 1),
        operation(Kind.APPEND, 3, 4, DONE, 2),
    ]


def a_lost_write() -> list[Operation]:
    """Acknowledged, and not there afterwards."""
    return [
        operation(Kind.WRITE_FULL, 1, 2, DONE, 1),
        operation(Kind.APPEND, 3, 4, DONE, 2),
        operation(Kind.APPEND, 5, 6, DONE, 3),
        operation(Kind.READ, 7, 8, State((1, 3), NO_TAG)),
    ]


def a_stale_read() -> list[Operation]:
    """It began after the write had returned."""
    return [
        operation(Kind.WRITE_FULL, 1, 2, DONE, 1),
        operation(Kind.WRITE_FULL, 3, 4, DONE, 2),
        operation(Kind.READ, 5, 6, State((1,), NO_TAG)),
    ]


def a_write_done_again_later() -> list[Operation]:
    """A repeated write_full brings back what was overwritten."""
    return [
        operation(Kind.WRITE_FULL, 1, 2, DONE, 1),
        operation(Kind.READ, 3, 4, State((1,), NO_TAG)),
        operation(Kind.WRITE_FULL, 5, 6, DONE, 2),
        operation(Kind.READ, 7, 8, State((2,), NO_TAG)),
        operation(Kind.READ, 9, 10, State((1,), NO_TAG)),
    ]


def a_remove_that_did_nothing() -> list[Operation]:
    return [
        operation(Kind.WRITE_FULL, 1, 2, DONE, 1),
        operation(Kind.REMOVE, 3, 4, DONE),
        operation(Kind.READ, 5, 6, State((1,), NO_TAG)),
    ]


@pytest.mark.parametrize(
    "faulty",
    [a_lost_write, a_stale_read, a_write_done_again_later, a_remove_that_did_nothing],
    ids=lambda f: f.__name__,
)
@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_faults_among_concurrent_operations_are_rejected(faulty: Callable[[], list[Operation]], seed: int) -> None:
    assert passes(among_others(seed, a_good_one()))
    assert not passes(among_others(seed, faulty()))


def test_an_unknown_outcome_may_take_effect_late_or_never_but_once() -> None:
    late = operation(Kind.APPEND, 1, 2, None, 1, status=Status.UNKNOWN)
    reads = [
        operation(Kind.READ, 3, 4, ABSENT),
        operation(Kind.WRITE_FULL, 5, 6, DONE, 2),
        operation(Kind.READ, 7, 8, State((2,), NO_TAG)),
    ]
    assert passes([late, *reads])
    assert passes([late, *reads, operation(Kind.READ, 9, 10, State((2, 1), NO_TAG))])
    assert not passes([late, *reads, operation(Kind.READ, 9, 10, State((2, 1, 1), NO_TAG))])
    # not before it was asked for
    assert not passes([operation(Kind.READ, 1, 2, State((1,), NO_TAG)), operation(Kind.APPEND, 3, 4, None, 1)])
    # what is pending at the end is unknown as well
    pending = operation(Kind.APPEND, 1, 0, None, 1, status=Status.PENDING)
    pending.returned = None
    assert passes([pending, operation(Kind.READ, 3, 4, State((1,), NO_TAG))])


def test_thousands_of_operations_are_checked_quickly() -> None:
    """With many unknown outcomes, and where reads are rare."""
    dice = random.Random(7)
    began = time.process_time()
    for overlap, unknown, appends in ((2, 0.0, 0.3), (4, 0.1, 0.5), (4, 0.3, 0.1), (3, 0.0, 0.9)):
        operations = Execution(dice, 3000, overlap, unknown, appends).operations
        check_object(operations)
    assert time.process_time() - began < 20  # it takes 1 s; exponential would be for ever


def test_a_search_that_gets_nowhere_is_given_up() -> None:
    execution = Execution(random.Random(1), 50, 2, 0)
    with pytest.raises(Undecided):
        check_object(execution.operations, steps_max=10)


def test_a_value_written_twice_is_an_error_of_the_test() -> None:
    with pytest.raises(ValueError, match="unique"):
        check_object([operation(Kind.APPEND, 1, 2, DONE, 1), operation(Kind.APPEND, 3, 4, DONE, 1)])


def test_history_records_in_order_and_reports() -> None:
    history = History()
    first = history.invoke(Kind.WRITE_FULL, "a", 1)
    other = history.invoke(Kind.APPEND, "b", 2)
    history.ok(first, DONE)
    history.unknown(other)
    lost = history.invoke(Kind.APPEND, "b", 3)
    history.fail(lost)
    history.check()
    read = history.invoke(Kind.READ, "a")
    history.ok(read, ABSENT)
    with pytest.raises(NotLinearizable, match=r"a: no order explains(?s:.*)write_full 1"):
        history.check()
    assert (history.count(Status.OK), history.count(Status.UNKNOWN), history.count(Status.FAILED)) == (2, 1, 1)
    read = history.invoke(Kind.READ, "b")
    history.ok(read, State((3,), NO_TAG))
    with pytest.raises(NotLinearizable, match="told that it was not written"):
        check_object(history.by_object()["b"])
