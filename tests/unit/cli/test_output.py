from __future__ import annotations

import json

import httpx
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from cove.cli.client import error_of
from cove.cli.output import cell, human_bytes, json_text, parse_size
from cove.cli.rbd import split_spec
from cove.cli.subnets import parse_pool
from cove.cli.timelines import duration, first, since


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512),
        ("1k", 1024),
        ("256M", 256 << 20),
        ("256MB", 256 << 20),
        ("256MiB", 256 << 20),
        ("1.5G", 3 << 29),
        (" 2T ", 2 << 40),
        ("1B", 1),
    ],
)
def test_parse_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "M", "0", "-1G", "1X", "one", "1 2", "nan", "inf", "1e400G", "3.7", "0.1K", "1/2G", "٣M", "9999999999T"],
)
def test_parse_size_refuses(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_size(text)


@given(st.integers(1, 1 << 50))
def test_whole_sizes_survive_being_shown(size: int) -> None:
    shown = human_bytes(size)
    if "." not in shown:
        assert parse_size(shown.replace(" ", "")) == size or size >= 1 << 50


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (256 << 20, "256 MiB")]
)
def test_human_bytes(size: int, text: str) -> None:
    assert human_bytes(size) == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), ("", "-"), (True, "yes"), (["a", "b"], "a\nb"), (0, "0")])
def test_cell(value: object, text: str) -> None:
    assert cell(value).plain == text


def test_names_are_not_markup() -> None:
    assert cell("[bold]x[/]").plain == "[bold]x[/]"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 ms"), (0.0042, "4.2 ms"), (0.025, "25 ms"), (1.0, "1.0 s"), (3.14, "3.1 s")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_since_leaves_out_what_has_not_happened() -> None:
    steps = [{"name": "committed", "at": 10.004}, {"name": "host_entry", "at": 10.02}]
    assert since(steps, ("committed", "cast", "host_entry"), 10.0) == "committed +4.0 ms · host entry +20 ms"
    assert first(steps, "cast") is None


def test_json_of_names_that_are_no_text() -> None:
    value = {"name": "väl\udcff\ud800", "tab": "\t"}
    text = json_text(value)
    assert text == '{"name": "väl\\udcff\\ud800", "tab": "\\t"}'
    assert json.loads(text.encode()) == value


@pytest.mark.parametrize(("spec", "parts"), [("rbd/a", ("rbd", "a")), ("a", ("rbd", "a")), ("p/i.x", ("p", "i.x"))])
def test_split_spec(spec: str, parts: tuple[str, str]) -> None:
    assert split_spec(spec) == parts


@pytest.mark.parametrize("spec", ["", "/", "a/", "/b", "a/b/c", "a/b@s"])
def test_split_spec_refuses(spec: str) -> None:
    with pytest.raises(typer.BadParameter):
        split_spec(spec)


def test_parse_pool() -> None:
    assert parse_pool("10.0.0.1 - 10.0.0.9") == {"start": "10.0.0.1", "end": "10.0.0.9"}
    with pytest.raises(typer.BadParameter):
        parse_pool("10.0.0.1")


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ({"NeutronError": {"type": "NetworkInUse", "message": "in use", "detail": ""}}, "NetworkInUse", "in use"),
        ({"badRequest": {"code": 400, "message": "no name"}}, "badRequest", "no name"),
        ({"error": {"code": 401, "title": "Unauthorized", "message": "no token"}}, "error", "no token"),
        (["odd"], "HTTP", "['odd']"),
    ],
)
def test_error_of(body: object, kind: str, message: str) -> None:
    error = error_of(httpx.Response(409, json=body))
    assert (error.status, error.kind, str(error)) == (409, kind, message)


def test_error_of_plain_text() -> None:
    assert str(error_of(httpx.Response(502, text="bad gateway"))) == "bad gateway"
