"""`CEPH_ARGS`: options of a command line, which every Ceph client reads from the environment as well.

Source: Ceph's doc/rados/configuration/ceph-conf, man pages (ceph.8, rados.8: the short options).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .conffile import option_name, shown_name
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
    return found


def _pairs(text: str, place: str) -> Iterator[tuple[str, str]]:
    words = text.split()
    at, name = 0, ""
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            return
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = option_name(name)
            name = _LONG.get(name, name)
        elif word[:2] in _SHORT:
            # -n client.a and -nclient.a
            name, value = _SHORT[word[:2]], word[2:]
            equals = value
        elif word.startswith("-"):
            name, equals, value = option_name(word[1:]), "", ""
        else:
            # It is not shown: it may be a key, e.g. behind `--key= `.
            behind = f"behind {shown_name(name)}" if name else "at the beginning"
            raise InvalidArgument(f"{place}: word {at}, {behind}, is no option; write --option value, without quotes")
        if not name:
            raise InvalidArgument(f"{place}: {word!r} has no name of an option")
        if not equals and name not in _FLAGS:
            if at < len(words) and not words[at].startswith("-"):
                value = words[at]
                at += 1
            elif name in _SELECTING or name in _SHORT.values():
                raise InvalidArgument(f"{place}: {word} needs a value")
            else:
                value = "true"
        yield name, value or ("true" if name in _FLAGS else "")
