"""What nft does with the firewall's commands, as strict as nft is about what is there and what is used."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_JUMP = re.compile(r"\bjump (\w+)")
_SET = re.compile(r"@(\w+)")


class Refused(AssertionError):
    """A command that nft would refuse: with it, the whole transaction."""


@dataclass
class Table:
    chains: dict[str, list[str]] = field(default_factory=dict)
    sets: dict[str, set[str]] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    """How each set, map and base chain was declared."""


@dataclass
class Kernel:
    tables: dict[tuple[str, str], Table] = field(default_factory=dict)

    def apply(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._command(line)

    def _command(self, line: str) -> None:
        verb, what, family, name, *rest = line.split(" ", 4)
        key = (family, name)
        if what == "table":
            if verb == "add":
                self.tables.setdefault(key, Table())
            elif self.tables.pop(key, None) is None:
                raise Refused(line)
            return
        table = self.tables.get(key)
        if table is None:
            raise Refused(line)
        thing, _, body = rest[0].partition(" ")
        getattr(self, f"_{what}")(table, verb, thing, body, line)

    def _chain(self, table: Table, verb: str, name: str, body: str, line: str) -> None:
        if verb == "add":
            table.chains.setdefault(name, [])
            if body:
                table.made[name] = body
            return
        if name not in table.chains:
            raise Refused(line)
        if verb == "flush":
            table.chains[name] = []
            return
        users = [rule for rules in table.chains.values() for rule in rules if name in _JUMP.findall(rule)]
        users += [element for elements in table.sets.values() for element in elements if name in _JUMP.findall(element)]
        if users or table.chains[name]:
            raise Refused(f"{line}: {users or table.chains[name]}")
        del table.chains[name]

    def _rule(self, table: Table, verb: str, chain: str, body: str, line: str) -> None:
        assert verb == "add"
        if chain not in table.chains:
            raise Refused(line)
        for name in _JUMP.findall(body):
            if name not in table.chains:
                raise Refused(line)
        for name in _SET.findall(body):
            if name not in table.sets:
                raise Refused(line)
        table.chains[chain].append(body)

    def _set(self, table: Table, verb: str, name: str, body: str, line: str) -> None:
        if verb == "add":
            table.sets.setdefault(name, set())
            table.made[name] = body
            return
        used = any(name in _SET.findall(rule) for rules in table.chains.values() for rule in rules)
        if name not in table.sets or used:
            raise Refused(line)
        del table.sets[name], table.made[name]

    _map = _set

    def _element(self, table: Table, verb: str, name: str, body: str, line: str) -> None:
        if name not in table.sets:
            raise Refused(line)
        for element in body.removeprefix("{ ").removesuffix(" }").split(", "):
            for chain in _JUMP.findall(element):
                if chain not in table.chains:
                    raise Refused(line)
            if verb == "add":
                table.sets[name].add(element)
            elif element in table.sets[name]:
                table.sets[name].remove(element)
            else:
                raise Refused(line)
