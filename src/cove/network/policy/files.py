"""Policy files: reading, and refusing what cannot be meant.

A file is a mapping of rule names to rules, in TOML or, if its name ends in .json, JSON. Tables may group rules; their
names mean nothing (those of `policy.toml` are the headings of docs/policy.md).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from cove.errors import CoveError
from cove.network.policy.checks import verify
from cove.network.policy.language import Check, Rule, RuleSyntaxError, checks, parse

DEFAULTS = "policy.toml"
SIZE_MAX = 1 << 20
VERBS = ("create", "get", "update", "delete")


class PolicyError(CoveError):
    """A policy file that cannot be used: its message says the file, the rule and what to do."""


@cache
def default_sections() -> Mapping[str, Mapping[str, str]]:
    """The rules that Cove comes with: heading → name → rule, in the order of the file."""
    text = resources.files("cove.network.policy").joinpath(DEFAULTS).read_text(encoding="utf-8")
    return tomllib.loads(text)


def default_texts() -> dict[str, str]:
    """The rules that Cove comes with."""
    return {name: text for section in default_sections().values() for name, text in section.items()}


def load(overrides: Path | None, attributes: Mapping[str, Collection[str]] | None) -> dict[str, Rule]:
    """All rules: the defaults, with the operator's in their place. Raises PolicyError."""
    defaults = _parsed(DEFAULTS, default_texts())
    if overrides is None:
        return _checked(DEFAULTS, defaults, ())
    own = _parsed(str(overrides), _texts(overrides))
    _refuse_unknown(str(overrides), own, defaults, attributes)
    return _checked(str(overrides), {**defaults, **own}, own)


def _texts(path: Path) -> dict[str, str]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"cannot read the policy file {path}: {error.strerror}") from error
    if len(content) > SIZE_MAX:
        raise PolicyError(f"the policy file {path} has {len(content)} bytes; at most {SIZE_MAX} are allowed")
    try:
        text = content.decode()
        document = json.loads(text, object_pairs_hook=_no_duplicates) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML (a file in JSON has a name that ends in .json)"
        raise PolicyError(f"the policy file {path} is no valid {kind}: {error}") from error
    if not isinstance(document, dict):
        raise PolicyError(f'the policy file {path} is no mapping of names to rules: write {{"get_network": "..."}}')
    result: dict[str, str] = {}
    for name, value in document.items():
        for rule, text in value.items() if isinstance(value, dict) else ((name, value),):
            if not isinstance(text, str):
                raise PolicyError(
                    f"the policy file {path}, rule {rule!r}: a rule is a text, not {text!r}"
                    ' ("" allows everybody, "!" nobody)'
                )
            if rule in result:
                raise PolicyError(f"the policy file {path} has the rule {rule!r} twice; keep one")
            result[rule] = text
    return result


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return result


def _parsed(file: str, texts: Mapping[str, str]) -> dict[str, Rule]:
    rules = {}
    for name, text in texts.items():
        try:
            rules[name] = parse(text)
            for check in checks(rules[name]):
                verify(check)
        except RuleSyntaxError as error:
            raise PolicyError(f"the policy file {file}, rule {name!r} ({text!r}): {error}") from None
    return rules


def _refuse_unknown(
    file: str, own: Mapping[str, Rule], defaults: Mapping[str, Rule], attributes: Mapping[str, Collection[str]] | None
) -> None:
    """A rule must decide something: one that Cove has, one for an attribute, or one that another rule asks."""
    asked = {check.match for rule in own.values() for check in checks(rule) if check.kind == "rule"}
    for name in own:
        if name in defaults or name in asked or _is_for_an_attribute(name, defaults, attributes):
            continue
        near = get_close_matches(name, defaults, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "docs/policy.md lists all rules"
        raise PolicyError(f"the policy file {file}, rule {name!r}: nothing asks for a rule of that name; {hint}")


def _is_for_an_attribute(
    name: str, defaults: Mapping[str, Rule], attributes: Mapping[str, Collection[str]] | None
) -> bool:
    action, _, attribute = name.partition(":")
    verb, _, resource = action.partition("_")
    if verb not in VERBS or action not in defaults or not attribute:
        return False
    if attributes is None:
        return True
    names = attributes.get(resource, ())
    return attribute in names or attribute.rpartition(":")[0] in names


def _checked(file: str, rules: dict[str, Rule], own: Collection[str]) -> dict[str, Rule]:
    """The rules, if each that is asked for exists and none asks for itself."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " → ".join((*path[path.index(name) :], name))
            raise PolicyError(f"the policy file {file}, rule {name!r} depends on itself: {circle}")
        if name in done:
            return
        for check in checks(rules[name]):
            if check.kind == "rule":
                _refuse_missing(file, name, check, rules)
                visit(check.match, (*path, name))
        done.add(name)

    for name in (*own, *rules):
        visit(name, ())
    return rules


def _refuse_missing(file: str, name: str, check: Check, rules: Mapping[str, Rule]) -> None:
    if check.match in rules:
        return
    near = get_close_matches(check.match, rules, n=1)
    hint = f"did you mean 'rule:{near[0]}'?" if near else "define it in the file"
    raise PolicyError(f"the policy file {file}, rule {name!r}: there is no rule {check.match!r}; {hint}")
