"""Exceptions, argument checks and helpers of the facade."""

from __future__ import annotations

import errno
import pickle
from typing import Any

import pytest

from cove.rados import sync as rados
from cove.rados.sync.constants import REQUEST_FLAGS, request_flags
from cove.rados.sync.errors import CLASSES
from cove.wire.osd_ops import RequestFlag


@pytest.mark.parametrize(("number", "cls"), CLASSES.items())
def test_classes_by_number(number: int, cls: type[rados.Error]) -> None:
    for result in (number, -number):
        problem = rados.make_ex(result, "what")
        assert type(problem) is cls
        assert problem.errno == number
        assert str(problem).startswith(f"[errno {number}] ")
        assert "(what)" in str(problem)


def test_other_numbers() -> None:
    problem = rados.make_ex(-errno.ERANGE, "what")
    assert (type(problem), str(problem)) == (rados.OSError, f"[errno {errno.ERANGE}] what")
    mismatch = rados.make_ex(-rados.MAX_ERRNO - 7, "what")
    assert isinstance(mismatch, rados.ExtendMismatch)
    assert (mismatch.errno, mismatch.offset) == (rados.MAX_ERRNO + 7, 7)


def test_without_a_number() -> None:
    assert str(rados.Error("text")) == "text"
    assert str(rados.LogicError("text")) == "RADOS logic error (text)"
    assert rados.Error("text").errno is None
    assert not issubclass(rados.OSError, OSError)


@pytest.mark.parametrize("problem", [rados.Error("a"), rados.NoData("b", 61), rados.ExtendMismatch("c", 4096, 1)])
def test_pickles(problem: rados.Error) -> None:
    again = pickle.loads(pickle.dumps(problem))  # noqa: S301
    assert (type(again), str(again), again.__dict__) == (type(problem), str(problem), problem.__dict__)


def test_requires() -> None:
    class Thing:
        @rados.requires(("text", str), ("number", rados.opt(int)))
        def method(self, text: str, number: int | None = None) -> Any:
            return text, number

    assert Thing().method("a") == ("a", None)
    assert Thing().method("a", number=5) == ("a", 5)
    with pytest.raises(TypeError, match="text must be str"):
        Thing().method(5)
    with pytest.raises(TypeError, match="number must be int or None"):
        Thing().method("a", number="b")


def test_strings() -> None:
    assert rados.cstr("ä", "x") == b"\xc3\xa4"
    assert rados.cstr(b"\xff", "x") == b"\xff"
    assert rados.cstr(None, "x", opt=True) is None
    with pytest.raises(TypeError, match="x must be a string"):
        rados.cstr(5, "x")
    assert rados.cstr_list(["a", b"b"], "x") == [b"a", b"b"]
    assert rados.decode_cstr(b"a") == "a"
    assert rados.decode_cstr(None) is None
    assert rados.flatten_dict({"a": "b"}, "x") == b"a\0b\0"


def test_flags() -> None:
    assert request_flags(0) == 0
    both = rados.LIBRADOS_OPERATION_FULL_TRY | rados.LIBRADOS_OPERATION_BALANCE_READS
    assert request_flags(both) == RequestFlag.FULL_TRY | RequestFlag.BALANCE_READS
    assert len(set(REQUEST_FLAGS.values())) == len(REQUEST_FLAGS)


def test_configuring() -> None:
    cluster = rados.Rados(rados_id="me", conf_defaults={"mon_host": "1.1.1.1"}, conf={"mon_host": "2.2.2.2"})
    assert cluster.conf_get("mon_host") == "2.2.2.2"
    assert cluster.conf_parse_argv(["--rados-osd-op-timeout=5", "rest"]) == ["rest"]
    assert cluster.conf_get("rados_osd_op_timeout") == "5"
    with pytest.raises(rados.ObjectNotFound):
        cluster.conf_set("nosuch", "1")
    with pytest.raises(rados.ObjectNotFound, match="error calling conf_read_file"):
        cluster.conf_read_file("/nonexistent")
    with pytest.raises(rados.ObjectNotFound, match="error connecting to the cluster"):
        rados.Rados().connect()
    assert str(cluster.version()) == "3.0.0"
