"""Keyring files: the keys of users and daemons, each in a section with the entity's name.

    [client.admin]
        key = AQBVYQJrYcrXCBAAsGd84IaMgqDgU28/z03bGA==
        caps mon = "allow *"

A client needs nothing but its key; the capabilities are for those who make keyrings. What is wrong with one entity's
key is said when that entity is asked for, so that a key of a new type does not lock the others out.

Source: Ceph's doc/rados/operations/user-management; file form compared with `ceph-authtool`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ..wire.cephx.keys import CryptoKey
from ..wire.errors import UsageError
from .conffile import Setting, parse_settings, quoted, read_text, shown_name
from .errors import InvalidArgument, ObjectNotFound

_CAPS = "caps_"
_IGNORED = ("auid",)


@dataclass(slots=True)
class KeyringEntry:
    """One entity's section. `problem` says why there is no key."""

    name: str
    key: CryptoKey | None = None
    caps: dict[str, str] = field(default_factory=dict)
    pending_key: CryptoKey | None = None
    problem: str = ""


@dataclass(slots=True)
class Keyring:
    """The entities of one file, by name (`client.admin`)."""

    source: str = "keyring"
    entries: dict[str, KeyringEntry] = field(default_factory=dict)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Keyring:
        """From a file. Raises ObjectNotFound, PermissionDenied, InvalidArgument."""
        return Keyring.parse(read_text(path, "keyring"), f"keyring {str(path)!r}")

    @staticmethod
    def parse(text: str, source: str = "keyring") -> Keyring:
        """From the text of a file; `source` names it in messages. Raises InvalidArgument."""
        ring = Keyring(source)
        for setting in parse_settings(text, source):
            if setting.section == "global":
                continue
            if "." not in setting.section:
                raise InvalidArgument(f"{setting.place}: the section's name is no entity; write e.g. [client.admin]")
            _apply(ring.entries.setdefault(setting.section, KeyringEntry(setting.section)), setting)
        return ring

    def key_of(self, name: str) -> CryptoKey:
        """The key of an entity. Raises ObjectNotFound if the keyring has none, InvalidArgument if it is of no use."""
        entry = self.entries.get(name)
        if entry is None:
            known = ", ".join(sorted(self.entries)[:8]) or "nobody"
            raise ObjectNotFound(f"{self.source} has no key for {name}; it has keys for {known}")
        if entry.problem:
            raise InvalidArgument(entry.problem)
        if entry.key is None:
            raise ObjectNotFound(f"{self.source} has a section [{name}] without a key")
        return entry.key

    def format(self) -> str:
        """The text of a file. This shows the secrets: it is for a file with mode 0600."""
        lines: list[str] = []
        for entry in self.entries.values():
            lines.append(f"[{entry.name}]")
            if entry.key is not None:
                lines.append(f"\tkey = {entry.key.to_base64()}")
            if entry.pending_key is not None:
                lines.append(f"\tpending key = {entry.pending_key.to_base64()}")
            lines += [f"\tcaps {service} = {quoted(text)}" for service, text in sorted(entry.caps.items())]
        return "\n".join(lines) + "\n" if lines else ""


def _apply(entry: KeyringEntry, setting: Setting) -> None:
    if setting.name.startswith(_CAPS):
        entry.caps[setting.name.removeprefix(_CAPS)] = setting.value
    elif setting.name in ("key", "pending_key"):
        try:
            key = parse_key(setting.value, f"{setting.place}, option {setting.name}")
        except InvalidArgument as error:
            if setting.name == "key":
                entry.problem = str(error)
            return
        if setting.name == "key":
            entry.key, entry.problem = key, ""
        else:
            entry.pending_key = key
    elif setting.name not in _IGNORED:
        raise InvalidArgument(
            f"{setting.place}: {shown_name(setting.name)} is unknown in a keyring; known: key, caps SERVICE"
        )


def parse_key(text: str, place: str) -> CryptoKey:
    """A key in base64; `place` says where it stands. Raises InvalidArgument, which does not show the key."""
    try:
        return CryptoKey.parse(text)
    except UsageError as error:
        raise InvalidArgument(f"{place}: {error}; copy the key from `ceph auth get-key NAME`") from None
