"""`CEPH_ARGS` and command lines: options, which every Ceph client reads from the environment as well.

Source: Ceph's doc/rados/configuration/ceph-conf, man pages (ceph.8, rados.8: the short options).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .conffile import option_name, shown_name
from .config_options import is_option, is_truth
from .errors import InvalidArgument

_SHORT = {
    "-c": "conf",
    "-n": "name",
    "-i": "id",
    "-m": "mon_host",
    "-k": "keyring",
    "-K": "keyfile",
}
_LONG = {"user": "id"}
_FLAGS = {"no_mon_config", "no_config_file", "verbose", "debug", "foreground", "f", "d"}
"""Options without a value; any other takes the word behind it, unless that is an option itself."""

_SELECTING = ("conf", "name", "id", "cluster")


@dataclass(slots=True)
class Arguments:
    """What was found: which file, which entity and which cluster; all else are options, by normalized name."""

    conf: str | None = None
    name: str | None = None
    cluster: str | None = None
    options: dict[str, str] = field(default_factory=dict, repr=False)  # there may be a key


def parse_arguments(text: str, place: str = "CEPH_ARGS") -> Arguments:
    """Words separated by blanks; the last of several wins. Raises InvalidArgument for a word that is no option."""
    found = Arguments()
    for option, value in _pairs(text, place):
        _note(found, option, value)
    return found


def take_options(words: Sequence[str]) -> tuple[Arguments, list[str]]:
    """The options of Ceph among the words of a command line, and all other words, in order.

    Behind `--` there are none. Raises InvalidArgument if a value is missing.
    """
    found, rest = Arguments(), list[str]()
    at = 0
    while at < len(words):
        word = words[at]
        if word == "--":
            rest.extend(words[at:])
            break
        at += 1
        name, value = _option_of(word)
        if not (is_option(name) or name in _SELECTING):
            rest.append(word)
            continue
        if value is None and is_truth(name):
            value = "true"
        elif value is None:
            if at == len(words):
                raise InvalidArgument(f"the command line: {word} needs a value")
            value, at = words[at], at + 1
        _note(found, name, value)
    return found, rest


def _option_of(word: str) -> tuple[str, str | None]:
    """The name of the option that a word is, empty if it is none, and the value that the word has, if any."""
    if word.startswith("--"):
        text, equals, value = word[2:].partition("=")
        name = option_name(text)
        if not equals and name.startswith("no_") and is_truth(name.removeprefix("no_")):
            return name.removeprefix("no_"), "false"
        return _LONG.get(name, name), value if equals else None
    if word[:2] in _SHORT:
        # -n client.a and -nclient.a
        return _SHORT[word[:2]], word[2:] or None
    return "", None


def _note(found: Arguments, option: str, value: str) -> None:
    if option == "conf":
        found.conf = value
    elif option == "cluster":
        found.cluster = value
    elif option == "name":
        found.name = value
    elif option == "id":
        found.name = f"client.{value}"
    else:
        found.options[option] = value


def _pairs(text: str, place: str) -> Iterator[tuple[str, str]]:
    words = text.split()
    at, name = 0, ""
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            return
        if not word.startswith("-"):
            # It is not shown: it may be a key, e.g. behind `--key= `.
            behind = f"behind {shown_name(name)}" if name else "at the beginning"
            raise InvalidArgument(f"{place}: word {at}, {behind}, is no option; write --option value, without quotes")
        name, value = _option_of(word)
        if not name and not word.startswith("--"):
            name = option_name(word[1:])  # a flag: -f
        if not name:
            raise InvalidArgument(f"{place}: word {at} has no name of an option")
        if value is None and name not in _FLAGS and at < len(words) and not words[at].startswith("-"):
            value, at = words[at], at + 1
        if value is None and (name in _SELECTING or name in _SHORT.values()):
            raise InvalidArgument(f"{place}: {word} needs a value")
        yield name, "true" if value is None else value
