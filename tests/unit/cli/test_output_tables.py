"""Tables lose nothing, whatever the width, and nothing in them steers a terminal."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from cove.cli import output
from cove.cli.client import segment
from cove.cli.output import Format, print_list, print_one, printable, say
from cove.errors import CoveError

ROW = {
    "name": "a-name-of-some-length",
    "mac_address": "fa:16:3e:e0:ef:bc",
    "device_owner": "network:dhcp",
    "id": "06188f1b-7af3-4eea-9757-c1bcae5048ee",
}


@pytest.fixture(params=[20, 60, 80, 200])
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    screen = io.StringIO()
    console = Console(file=screen, width=request.param, force_terminal=True, color_system=None, highlight=False)
    monkeypatch.setattr(output, "console", console)
    return screen


def test_a_table_loses_nothing(terminal: io.StringIO) -> None:
    print_list([ROW, ROW], tuple(ROW), Format.TABLE, empty="")
    shown = "".join(terminal.getvalue().split())
    for column in ("name", "mac_address", "device_owner"):
        assert shown.count(ROW[column]) == 2
    for half in (ROW["id"][:18], ROW["id"][18:]):
        assert shown.count(half) == 2


def test_cells_of_several_words_stay_whole(terminal: io.StringIO) -> None:
    print_list(
        [{"size": "64 KiB", "rate": "165.3 MiB/s", "x": "y" * 40, "z": "w" * 20}],
        ("size", "rate", "x", "z"),
        Format.TABLE,
        empty="",
    )
    for text in ("64 KiB", "165.3 MiB/s", "y" * 40, "w" * 20):
        assert text in terminal.getvalue()


def test_a_line_loses_nothing(terminal: io.StringIO) -> None:
    say("one two three four five six seven eight nine ten eleven twelve thirteen", "label")
    assert "".join(terminal.getvalue().split()).startswith("label")
    assert terminal.getvalue().split()[-1] == "thirteen"


def test_one_object(terminal: io.StringIO) -> None:
    print_one({"cove:port_id": "x", "nested": {"a": 1}}, Format.TABLE)
    assert "port id" in terminal.getvalue()
    assert "cove:" not in terminal.getvalue()


def test_names_do_not_steer_the_terminal(terminal: io.StringIO) -> None:
    say("a\x1b]0;evil\x07b")
    print_list([{"name": "x\x1b[2Jy"}], ("name",), Format.TABLE, empty="")
    assert "\x1b" not in terminal.getvalue()
    assert printable("ä ☃") == "ä ☃"


def test_json_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    print_list([ROW | {"extra": None}], ("name",), Format.JSON, empty="")
    assert json.loads(capsys.readouterr().out) == [ROW | {"extra": None}]


@pytest.mark.parametrize(
    ("name", "quoted"), [("a b", "a%20b"), ("a?b#c", "a%3Fb%23c"), ("a/../b", "a%2F..%2Fb"), ("%2f", "%252f")]
)
def test_a_name_is_one_segment_of_a_path(name: str, quoted: str) -> None:
    assert segment(name) == quoted


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_is_no_segment(name: str) -> None:
    with pytest.raises(CoveError):
        segment(name)
