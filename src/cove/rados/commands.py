"""Commands in JSON to monitors and managers: what the `ceph` tool sends.

    await cluster.mon_command({"prefix": "osd pool application enable", "pool": "rbd", "app": "rbd"})
    (await cluster.mon_command({"prefix": "status", "format": "json"})).check().json()

Source: Ceph's mon/MonCommands.h, doc/man/8/ceph; MonClient::start_mon_command.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from ..wire.encoding import encode_text
from ..wire.errors import UsageError
from .errors import InOutError, InvalidArgument, make_error

COMMAND_BYTES_MAX = 16 << 20

Command = Mapping[str, Any] | str
"""The command as a mapping with the key `prefix`, or as its JSON text."""


class CommandResult(NamedTuple):
    """`result` is 0 or a negative error number, `status` what the cluster says to people, `outbuf` the output."""

    result: int
    status: str
    outbuf: bytes
    name: str = ""

    def check(self) -> Self:
        """Itself, if the command was carried out. Raises the Error for its result, with the status in the message."""
        if self.result < 0:
            raise make_error(self.result, operation=self.name or "command", detail=self.status)
        return self

    def json(self) -> Any:
        """The output as JSON (the command had `"format": "json"`). Raises InOutError."""
        try:
            return json.loads(self.outbuf)
        except ValueError as problem:
            raise InOutError(f"{self.name}: the output is no JSON ({problem})") from None


def encode_command(command: Command, inbuf: bytes) -> tuple[str, str]:
    """The command as it travels, and a name for messages that shows no arguments. Raises InvalidArgument."""
    try:
        parsed = json.loads(command) if isinstance(command, str) else dict(command)
        text = command if isinstance(command, str) else json.dumps(parsed)
        encode_text(text)
    except (UnicodeError, UsageError, RecursionError):
        raise InvalidArgument("a command has characters that can't be encoded, or is nested too deeply") from None
    except (TypeError, ValueError) as problem:
        raise InvalidArgument(f"a command is a mapping, or its JSON text: {problem}") from None
    prefix = parsed.get("prefix") if isinstance(parsed, dict) else None
    if not isinstance(prefix, str) or not prefix:
        raise InvalidArgument('a command has a prefix, e.g. {"prefix": "osd pool ls"}')
    if len(text) + len(inbuf) > COMMAND_BYTES_MAX:
        raise InvalidArgument(f"command {prefix!r} has more than {COMMAND_BYTES_MAX >> 20} MiB")
    return text, f"command {prefix!r}"
