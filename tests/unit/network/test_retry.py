"""What becomes of a write transaction that lost: run again, or told to the client."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from cove.db import DatabaseBusy, DatabaseContention, DatabaseUnavailable, OutcomeUnknown
from cove.network import errors
from cove.network.retry import ATTEMPTS_MAX, Retry, write_retrying


class Scripted:
    """A database whose writes fail as told, one after the other, and then succeed."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.runs = 0

    async def write(self, fn: Any, *, after_commit: Any = None) -> Any:
        self.runs += 1
        if self.failures:
            raise self.failures.pop(0)
        return fn(None)


async def write(db: Scripted) -> Any:
    return await write_retrying(db, lambda connection: "done")  # type: ignore[arg-type]


def taken() -> sa.exc.IntegrityError:
    return sa.exc.IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed"))


@pytest.mark.parametrize("failure", [Retry("changed"), taken()])
async def test_it_is_run_again(failure: Exception) -> None:
    db = Scripted(failure, failure)
    assert await write(db) == "done"
    assert db.runs == 3


async def test_not_for_ever() -> None:
    db = Scripted(*[taken()] * 100)
    with pytest.raises(errors.DatabaseRetriesExhausted) as caught:
        await write(db)
    assert db.runs == ATTEMPTS_MAX
    assert caught.value.code == 503


@pytest.mark.parametrize(
    ("failure", "told", "code"),
    [
        (DatabaseContention("lost", 10), errors.DatabaseRetriesExhausted, 503),
        (OutcomeUnknown("it broke"), errors.OutcomeUnknown, 504),
    ],
)
async def test_what_is_not_run_again_here(failure: Exception, told: type[errors.NetworkingError], code: int) -> None:
    db = Scripted(failure)
    with pytest.raises(told) as caught:
        await write(db)
    assert db.runs == 1
    assert caught.value.code == code


@pytest.mark.parametrize("failure", [DatabaseUnavailable("away"), DatabaseBusy("full"), errors.NetworkNotFound("x")])
async def test_others_are_passed_on(failure: Exception) -> None:
    db = Scripted(failure)
    with pytest.raises(type(failure)) as caught:
        await write(db)
    assert caught.value is failure
    assert db.runs == 1
