from __future__ import annotations

import pytest

from cove.cli.servers import CONTROL_CHARACTERS


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1bc\x1b[?7l\x1b[2JSeaBIOS", "SeaBIOS"),
        ("a\x1b]0;evil\x07b", "a0;evilb"),
        ("ü\r\n", "ü\n"),
        ("\x9b31mred\x00", "31mred"),
    ],
)
def test_a_guest_does_not_steer_the_terminal(raw: str, shown: str) -> None:
    assert CONTROL_CHARACTERS.sub("", raw) == shown
