"""Linearizability: was there an order of all operations on an object that explains every answer?

    history = History()
    operation = history.invoke(Kind.APPEND, "oid", value=7)      # when it is submitted
    history.ok(operation, DONE)                                  # answered; or
    history.fail(operation)                                      # known not to have happened; or
    history.unknown(operation)                                   # may take effect at any later time, or never
    history.check()                                              # NotLinearizable, with what could not be explained

An object is a sequence of values (each written at most once in a history) and a tag that guarded writes compare and
set; `step` is what one operation does to it. The search is depth first over what could have been next, each
configuration (operations done, state) looked at once. What keeps it nearly linear:

- An answer that fits the present state, and changes nothing, is taken at once: later it would be no better.
- Values are unique. So data that an answer shows was there once and will not come back: who leaves it while such an
  answer is still to be explained has lost. The same goes for tags.
- An appended value that an answer shows can have been appended only to what stands before it there.
- A value that no answer shows leads to the same state as any other of that kind. If nobody knows whether it was
  written, it can only have helped by creating the object; and a tag of that kind by being another one.
- Of operations of unknown outcome that can stand for one another, those that began first are taken; and having used
  fewer of them is never worse.

Source: Wing and Gong, Testing and Verifying Concurrent Objects, 1993; Lowe, Testing for Linearizability, 2017.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

STEPS_MAX = 2_000_000
"""Configurations looked at for one object until the search is given up."""
REPORTED_MAX = 12
NO_TAG = 0
"""The tag of an object that no guarded write has changed yet. Values are 1 or more."""
UNSEEN = -1
"""Stands for all values that no answer shows."""


class Kind(Enum):
    """What operations do. GUARDED: if the tag is the expected one, replace data and tag by the value."""

    READ = "read"
    WRITE_FULL = "write_full"
    APPEND = "append"
    GUARDED = "guarded write"
    REMOVE = "remove"


class Answer(Enum):
    """Answers of operations that return no data."""

    DONE = "done"
    MISMATCH = "tag differs"
    ABSENT = "no such object"


DONE, MISMATCH, ABSENT = Answer.DONE, Answer.MISMATCH, Answer.ABSENT


class State(NamedTuple):
    """An object: its values in order (None: it does not exist) and its tag. The answer to a read, too."""

    data: tuple[int, ...] | None
    tag: int = NO_TAG


GONE = State(None)
UNSEEN_DATA = (UNSEEN,)


class Status(Enum):
    """What the caller knows of an operation."""

    PENDING = "pending"
    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(slots=True, eq=False)
class Operation:
    """One operation. `invoked` and `returned` are positions in the history."""

    kind: Kind
    oid: str
    value: int
    expected: int
    invoked: int
    returned: int | None = None
    status: Status = Status.PENDING
    answer: Answer | State | None = None

    def __str__(self) -> str:
        what = f"{self.kind.value} {self.value or ''}".strip()
        if self.kind is Kind.GUARDED:
            what += f" if tag {self.expected}"
        answer = self.answer
        told = f"{answer.data} tag {answer.tag}" if isinstance(answer, State) else answer.value if answer else "?"
        return f"[{self.invoked}, {'…' if self.returned is None else self.returned}] {what}: {self.status.value} {told}"


class NotLinearizable(AssertionError):
    """No order explains the answers."""


class Undecided(AssertionError):
    """The search took too many steps."""


def step(state: State, operation: Operation, value: int | None = None) -> tuple[State, Answer | State]:
    """What an operation makes of a state, and its answer. `value` stands in for the operation's own."""
    kind = operation.kind
    value = operation.value if value is None else value
    data, tag = state
    if kind is Kind.READ:
        return state, (ABSENT if data is None else state)
    if kind is Kind.WRITE_FULL:
        return State((value,), tag), DONE
    if kind is Kind.APPEND:
        return State((data or ()) + (value,), tag), DONE
    if kind is Kind.REMOVE:
        return (state, ABSENT) if data is None else (GONE, DONE)
    if data is None:
        return state, ABSENT
    return (State((value,), value), DONE) if tag == operation.expected else (state, MISMATCH)


class History:
    """Records what happens, in the order in which it happens; to be used on one thread."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._clock = itertools.count(1)

    def invoke(self, kind: Kind, oid: str, value: int = 0, expected: int = NO_TAG) -> Operation:
        """An operation begins."""
        operation = Operation(kind, oid, value, expected, next(self._clock))
        self.operations.append(operation)
        return operation

    def ok(self, operation: Operation, answer: Answer | State) -> None:
        """It has been answered."""
        self._end(operation, Status.OK)
        operation.answer = answer

    def fail(self, operation: Operation) -> None:
        """It is known not to have happened, and not to happen later."""
        self._end(operation, Status.FAILED)

    def unknown(self, operation: Operation) -> None:
        """Nobody knows whether it has happened, or will."""
        self._end(operation, Status.UNKNOWN)

    def _end(self, operation: Operation, status: Status) -> None:
        assert operation.status is Status.PENDING
        operation.status, operation.returned = status, next(self._clock)

    def count(self, status: Status) -> int:
        """How many operations ended so."""
        return sum(operation.status is status for operation in self.operations)

    def by_object(self) -> dict[str, list[Operation]]:
        """The operations on each object, in the order in which they began."""
        found: dict[str, list[Operation]] = {}
        for operation in self.operations:
            found.setdefault(operation.oid, []).append(operation)
        return found

    def check(self) -> None:
        """Raises NotLinearizable; Undecided if that could not be found out. What is pending counts as unknown."""
        for oid, operations in self.by_object().items():
            check_object(operations, oid)


def check_object(operations: Iterable[Operation], oid: str = "object", steps_max: int = STEPS_MAX) -> None:
    """The same for the operations on one object. It begins as one that does not exist."""
    Search(list(operations), oid, steps_max).run()


class Seen:
    """What the answers show of values. Raises NotLinearizable for answers that no order at all can explain."""

    def __init__(self, operations: Sequence[Operation], oid: str) -> None:
        self.before: dict[int, tuple[int, ...]] = {}
        """A value that an answer shows in the data → what stands before it."""
        self.tags: set[int] = {NO_TAG}
        """Tags that an answer shows, or that a guarded write expects."""
        written: dict[int, Operation] = {}
        for operation in operations:
            if operation.value:
                if operation.value in written:
                    raise ValueError(f"value {operation.value} is written twice; values must be unique")
                written[operation.value] = operation
            if operation.kind is Kind.GUARDED:
                self.tags.add(operation.expected)
        checked: set[tuple[int, ...]] = set()
        for operation in operations:
            answer = operation.answer
            if isinstance(answer, State):
                self.tags.add(answer.tag)
                if answer.data and answer.data not in checked:
                    checked.add(answer.data)
                    self._look(answer.data, written, f"{oid}: {operation}")

    def _look(self, data: tuple[int, ...], written: dict[int, Operation], where: str) -> None:
        for index, value in enumerate(data):
            source = written.get(value)
            if source is None:
                raise NotLinearizable(f"{where} shows {value}, which nobody wrote")
            if source.status is Status.FAILED:
                raise NotLinearizable(f"{where} shows {value}, of which we were told that it was not written")
            prefix = data[:index]
            if index and source.kind is not Kind.APPEND:
                raise NotLinearizable(f"{where} shows {value} behind others, and it was not appended")
            if self.before.setdefault(value, prefix) != prefix:
                known = self.before[value]
                raise NotLinearizable(f"{where} shows {value} behind {prefix[-3:]}, another answer behind {known[-3:]}")


class Node(NamedTuple):
    """A configuration: all answered operations below `low` are done, and those of `window` (bit 0 is `low`)."""

    low: int
    window: int
    used: int
    """Operations of unknown outcome that have taken effect, as bits; without those that are only counted:"""
    state: State
    creates: int = 0
    """How many of those whose value no answer shows have created the object."""
    removes: int = 0
    """How many of the removals of unknown outcome have taken effect."""


def _with(node: Node, index: int, state: State) -> Node:
    """The configuration after one more answered operation."""
    low, window = node.low, node.window | 1 << (index - node.low)
    while window & 1:
        low, window = low + 1, window >> 1
    return node._replace(low=low, window=window, state=state)


class Search:
    """Looks for an order of one object's operations."""

    def __init__(self, operations: Sequence[Operation], oid: str, steps_max: int) -> None:
        self.oid = oid
        self._steps_max = steps_max
        self._seen = Seen(operations, oid)
        by_start = sorted(operations, key=lambda operation: operation.invoked)
        self._answered = [operation for operation in by_start if operation.status is Status.OK]
        open_ones = [
            operation
            for operation in by_start
            if operation.status in (Status.UNKNOWN, Status.PENDING) and operation.kind is not Kind.READ
        ]
        self._removes = [operation for operation in open_ones if operation.kind is Kind.REMOVE]
        self._creates = [
            operation
            for operation in open_ones
            if operation.kind in (Kind.WRITE_FULL, Kind.APPEND) and operation.value not in self._seen.before
        ]
        counted = {*self._removes, *self._creates}
        self._open = [operation for operation in open_ones if operation not in counted]
        self._shown = self._seen.tags | self._seen.before.keys()
        self._shows: dict[tuple[int, ...], list[int]] = {}
        """Data → the answered operations (by index) that can be explained only while it is there."""
        self._needs: dict[int, list[int]] = {}
        """The same for tags."""
        for index, operation in enumerate(self._answered):
            answer = operation.answer
            if isinstance(answer, State):
                if answer.data:
                    self._shows.setdefault(answer.data, []).append(index)
                self._needs.setdefault(answer.tag, []).append(index)
            elif operation.kind is Kind.GUARDED and answer is DONE:
                self._needs.setdefault(operation.expected, []).append(index)
        self._needs.pop(NO_TAG, None)  # which comes back with every new object
        self._visited: dict[tuple[int, int, int, State], list[tuple[int, int]]] = {}
        self._best = Node(0, 0, 0, GONE)
        self._best_done = -1

    def apply(self, state: State, operation: Operation) -> State | None:
        """The state after an operation; None if its answer could not have been what it was."""
        value, seen = operation.value, self._seen
        if operation.kind is Kind.APPEND:
            before = seen.before.get(value)
            if before is not None and before != (state.data or ()):
                return None
        after, answer = step(state, operation)
        if operation.status is Status.OK and answer != operation.answer:
            return None
        if after is state:
            return state
        data, tag = after
        if data is not None and (data[-1] not in seen.before or data[0] == UNSEEN):
            data = UNSEEN_DATA
        return State(data, tag if tag in seen.tags else UNSEEN)

    def _candidates(self, node: Node) -> tuple[list[int], float]:
        """The answered operations that may come next: those that began before the first return of what is not done;
        and that return."""
        low, window = node.low, node.window
        answered = self._answered
        horizon = float("inf")
        found: list[int] = []
        for index in range(low, len(answered)):
            operation = answered[index]
            if operation.invoked > horizon:
                break
            if not window >> (index - low) & 1:
                assert operation.returned is not None
                horizon = min(horizon, operation.returned)
                found.append(index)
        return found, horizon

    def _next(self, node: Node) -> Iterator[Node]:
        """What may come next, likely ones first."""
        state, answered = node.state, self._answered
        found, horizon = self._candidates(node)
        changes: list[tuple[int, State]] = []
        for index in found:
            after = self.apply(state, answered[index])
            if after is state:
                yield _with(node, index, state)
                return
            if after is not None:
                changes.append((index, after))
        changes.sort(key=lambda change: answered[change[0]].returned or 0)
        for index, after in changes:
            following = _with(node, index, after)
            if self._may_leave(state, following):
                yield following
        for following in self._unknown(node, found, horizon):
            if self._may_leave(state, following):
                yield following

    def _unknown(self, node: Node, found: list[int], horizon: float) -> Iterator[Node]:
        """What may come next of those that nobody knows of."""
        state = node.state
        for number, operation in enumerate(self._open):
            if operation.invoked > horizon:
                break
            if node.used >> number & 1 or (operation.value not in self._shown and not self._differs(state, found)):
                continue
            after = self.apply(state, operation)
            if after is not None and after != state:
                yield node._replace(used=node.used | 1 << number, state=after)
        if state.data is None:
            if node.creates < len(self._creates) and self._creates[node.creates].invoked < horizon:
                yield node._replace(state=State(UNSEEN_DATA, state.tag), creates=node.creates + 1)
        elif node.removes < len(self._removes) and self._removes[node.removes].invoked < horizon:
            yield node._replace(state=GONE, removes=node.removes + 1)

    def _differs(self, state: State, found: list[int]) -> bool:
        """Whether one of the next answers is that the tag is another one than it is now."""
        operations = (self._answered[index] for index in found)
        return any(op.answer is MISMATCH and op.expected == state.tag for op in operations)

    def _may_leave(self, state: State, following: Node) -> bool:
        """Whether nothing is left that only the old state explains."""
        after = following.state
        needed: list[int] = []
        if state.data != after.data and state.data:
            needed = self._shows.get(state.data, [])
        if state.tag != after.tag and state.tag in self._needs:
            needed = needed + self._needs[state.tag]
        low, window = following.low, following.window
        return all(index < low or window >> (index - low) & 1 for index in needed)

    def _is_new(self, node: Node) -> bool:
        """Whether it is worth a look: no configuration was looked at that has done the same with as few or fewer."""
        counts = node.creates, node.removes
        visited = self._visited.setdefault(node[:4], [])
        if any(creates <= counts[0] and removes <= counts[1] for creates, removes in visited):
            return False
        visited.append(counts)
        return True

    def run(self) -> None:
        """Raises NotLinearizable, Undecided."""
        node = Node(0, 0, 0, GONE)
        stack: list[Iterator[Node]] = []
        steps = 0
        while node.low < len(self._answered):
            if self._is_new(node):
                steps += 1
                if steps > self._steps_max:
                    raise Undecided(f"{self.oid}: gave up after {self._steps_max} steps; {self._report()}")
                self._note(node)
                stack.append(self._next(node))
            following = None
            while stack and following is None:
                following = next(stack[-1], None)
                if following is None:
                    stack.pop()
            if following is None:
                raise NotLinearizable(f"{self.oid}: no order explains these answers; {self._report()}")
            node = following

    def _note(self, node: Node) -> None:
        done = node.low + node.window.bit_count()
        if done > self._best_done:
            self._best, self._best_done = node, done

    def _report(self) -> str:
        """The configuration that got farthest, and what should have come next."""
        low, window, used, state, creates, removes = self._best
        found, horizon = self._candidates(self._best)
        unused = [operation for number, operation in enumerate(self._open) if not used >> number & 1]
        unused += [*self._creates[creates:], *self._removes[removes:]]
        lines = [f"after {self._best_done} of {len(self._answered)} operations it is {state}, and next would be one of"]
        following = [*(self._answered[i] for i in found), *(op for op in unused if op.invoked < horizon)]
        lines += [f"  {operation}" for operation in following[:REPORTED_MAX]]
        done = [
            op for i, op in enumerate(self._answered[: low + window.bit_length()]) if i < low or window >> i - low & 1
        ]
        lines += ["the last before:", *(f"  {operation}" for operation in done[-REPORTED_MAX:])]
        return "\n".join(lines)
