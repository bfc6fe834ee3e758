"""The words of the command-line tests: a topic is a list of commands, each with what it must print.

`keep="net"` remembers what `create` or `show` printed: `{net}` is its id then, `{net.cidr}` one of its columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Command:
    """`words` are those of the command line, without `openstack`."""

    user: str
    words: str
    keep: str = ""
    shows: Mapping[str, Any] = field(default_factory=dict)
    """Columns of the one object that is printed, with their values."""
    names: tuple[str, ...] | None = None
    """Names (or, with `column`, other values) of the rows that are printed, in any order."""
    column: str = "Name"
    some: tuple[str, ...] = ()
    """Values of that column that must be among the rows."""
    fails: str = ""
    """Text of the error; the command must fail."""
    silent: bool = False
    """Prints nothing."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Commands in order."""

    name: str
    commands: tuple[Command, ...]


def show(user: str, words: str, keep: Any = "", **shows: Any) -> Command:
    """A command that prints one object: create, show."""
    return Command(user, words, keep=keep, shows=shows)


def rows(user: str, words: str, *names: str, column: str = "Name") -> Command:
    """A command that prints a table with exactly these rows."""
    return Command(user, words, names=names, column=column)


def among(user: str, words: str, *some: str, column: str = "Name") -> Command:
    """A command that prints a table in which these rows are."""
    return Command(user, words, some=some, column=column)


def does(user: str, words: str) -> Command:
    """A command that prints nothing: set, unset, delete."""
    return Command(user, words, silent=True)


def fails(user: str, words: str, text: str) -> Command:
    """A command that fails, and says so."""
    return Command(user, words, fails=text)
