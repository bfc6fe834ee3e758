"""The table errno → class, and what the messages say."""

from __future__ import annotations

import errno

import pytest

from cove.errors import CoveError
from cove.rados import CompareMismatch, Error, ObjectExists, ObjectNotFound, OutcomeUnknown, TimedOut
from cove.rados.errors import ERRORS, _by_errno, error_class, make_error, outcome_unknown


@pytest.mark.parametrize(("number", "cls"), ERRORS)
def test_each_number_makes_its_class(number: int, cls: type[Error]) -> None:
    problem = make_error(-number, operation="write", oid="a")
    assert type(problem) is cls
    assert problem.errno == number
    assert problem.result == -number
    assert isinstance(problem, CoveError)


def test_unknown_number_is_a_plain_error() -> None:
    problem = make_error(-errno.EXDEV)
    assert type(problem) is Error
    assert problem.errno == errno.EXDEV


def test_message_names_operation_object_code_and_remedy() -> None:
    text = str(make_error(-errno.EEXIST, operation="create", oid="rbd_id.vm1"))
    assert "create" in text
    assert "'rbd_id.vm1'" in text
    assert "EEXIST" in text
    assert ObjectExists.remedy in text


def test_a_number_can_be_claimed_once_only() -> None:
    with pytest.raises(ValueError, match="belongs to ObjectNotFound already"):
        _by_errno(((errno.ENOENT, ObjectNotFound), (errno.ENOENT, ObjectExists)))


def test_a_class_name_can_be_used_once_only() -> None:
    other = type("ObjectNotFound", (Error,), {})
    with pytest.raises(ValueError, match="two error classes"):
        _by_errno(((errno.ENOENT, ObjectNotFound), (errno.EEXIST, other)))


def test_cmpext_mismatch_carries_the_offset() -> None:
    problem = make_error(-4095 - 17, operation="cmpext", oid="a")
    assert isinstance(problem, CompareMismatch)
    assert problem.offset == 17
    assert problem.result == -4112
    assert error_class(-4095) is CompareMismatch


def test_outcome_unknown_is_no_time_out() -> None:
    problem = outcome_unknown(-errno.ETIMEDOUT, operation="write", oid="a")
    assert isinstance(problem, OutcomeUnknown)
    assert not isinstance(problem, TimedOut)
    assert problem.errno == errno.ETIMEDOUT
    assert "unknown" in str(problem)
