"""The language of policy rules: oslo.policy's, from text to a tree. Pure.

    rule        = "" | disjunction                        the empty rule allows everybody
    disjunction = conjunction { "or" conjunction }
    conjunction = negation { "and" negation }
    negation    = "not" negation | "(" disjunction ")" | check
    check       = "@" | "!" | kind ":" match              always, never, or what `checks` knows

Words are separated by blanks; parentheses may stand close to a word. Operators are known in any case. A match may
name what it asks of the target, `project_id:%(project_id)s`, and a parenthesis belongs to a match as long as it is
balanced there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

LENGTH_MAX = 10_000
DEPTH_MAX = 50


class RuleSyntaxError(ValueError):
    """A text that is no rule; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Constant:
    """`@` (and the empty rule) or `!`."""

    value: bool

    def __str__(self) -> str:
        return "@" if self.value else "!"


@dataclass(frozen=True, slots=True)
class Check:
    """One question: `role:admin`, `rule:owner`, `project_id:%(project_id)s`."""

    kind: str
    match: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.match}"


@dataclass(frozen=True, slots=True)
class Not:
    """The contrary of a part."""

    part: Rule

    def __str__(self) -> str:
        return f"not {_bracketed(self.part)}"


@dataclass(frozen=True, slots=True)
class And:
    """All parts."""

    parts: tuple[Rule, ...]

    def __str__(self) -> str:
        return " and ".join(_bracketed(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """Any part."""

    parts: tuple[Rule, ...]

    def __str__(self) -> str:
        return " or ".join(_bracketed(part) for part in self.parts)


Rule = Constant | Check | Not | And | Or

ALWAYS = Constant(True)
NEVER = Constant(False)


def _bracketed(rule: Rule) -> str:
    return f"({rule})" if isinstance(rule, (And, Or)) else str(rule)


def parse(text: str) -> Rule:
    """The tree of a rule. Raises RuleSyntaxError."""
    if len(text) > LENGTH_MAX:
        raise RuleSyntaxError(f"it has {len(text)} characters; at most {LENGTH_MAX} are allowed")
    if not text:
        return ALWAYS
    parser = _Parser(list(_words(text)))
    rule = parser.disjunction(0)
    parser.end()
    return rule


def checks(rule: Rule) -> Iterator[Check]:
    """Every check in a tree, from left to right."""
    match rule:
        case Check():
            yield rule
        case Not(part):
            yield from checks(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from checks(part)


_OPERATORS = frozenset({"and", "or", "not"})


def _words(text: str) -> Iterator[str]:
    """Parentheses, operators (in small letters) and checks."""
    for chunk in text.split():
        body = chunk.lstrip("(")
        yield from "(" * (len(chunk) - len(body))
        closing = 0
        while body.endswith(")") and body.count(")") > body.count("("):
            body = body[:-1]
            closing += 1
        if body:
            yield body.lower() if body.lower() in _OPERATORS else body
        yield from ")" * closing


class _Parser:
    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._at = 0

    def disjunction(self, depth: int) -> Rule:
        if depth > DEPTH_MAX:
            raise RuleSyntaxError(f"parentheses and negations are nested more than {DEPTH_MAX} deep")
        parts = [self._conjunction(depth)]
        while self._take("or"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def end(self) -> None:
        if self._at < len(self._words):
            word = self._words[self._at]
            raise RuleSyntaxError(
                "there is a ) too many" if word == ")" else f"'and' or 'or' is missing before {word!r}"
            )

    def _conjunction(self, depth: int) -> Rule:
        parts = [self._negation(depth)]
        while self._take("and"):
            parts.append(self._negation(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _negation(self, depth: int) -> Rule:
        if depth > DEPTH_MAX:
            raise RuleSyntaxError(f"parentheses and negations are nested more than {DEPTH_MAX} deep")
        if self._take("not"):
            return Not(self._negation(depth + 1))
        if self._take("("):
            rule = self.disjunction(depth + 1)
            if not self._take(")"):
                raise RuleSyntaxError("a ) is missing")
            return rule
        if self._at == len(self._words):
            raise RuleSyntaxError("it ends where a check should follow")
        word = self._words[self._at]
        if word in _OPERATORS or word == ")":
            raise RuleSyntaxError(f"a check is missing before {word!r}")
        self._at += 1
        return _check(word)

    def _take(self, word: str) -> bool:
        if self._at < len(self._words) and self._words[self._at] == word:
            self._at += 1
            return True
        return False


def _check(word: str) -> Rule:
    if word == "@":
        return ALWAYS
    if word == "!":
        return NEVER
    kind, colon, match = word.partition(":")
    if not colon or not kind:
        raise RuleSyntaxError(f"{word!r} is no check; write KIND:MATCH, such as role:member or rule:owner")
    opened = 0
    for character in match:
        opened += (character == "(") - (character == ")")
        if opened < 0:
            raise RuleSyntaxError(f"blanks are missing around the operator in {word!r}")
    return Check(kind, match)


# --- what a match asks of the target ---------------------------------------------------------------------------------

_KEY = re.compile(r"%\(([^()]+)\)s")


def keys(match: str) -> list[str]:
    """The names in a match that the target fills in."""
    return _KEY.findall(match)


def template(match: str) -> list[tuple[str, str]]:
    """A match as a list of (text, key that follows it or ""). Raises RuleSyntaxError for other uses of %."""
    parts: list[tuple[str, str]] = []
    end = 0
    for found in _KEY.finditer(match):
        parts.append((match[end : found.start()], found.group(1)))
        end = found.end()
    parts.append((match[end:], ""))
    for text, _key in parts:
        if "%" in text.replace("%%", ""):
            raise RuleSyntaxError(f"{match!r} uses % otherwise than in %(name)s; write %% for the sign itself")
    return [(text.replace("%%", "%"), key) for text, key in parts]
