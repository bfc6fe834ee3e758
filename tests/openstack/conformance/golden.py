"""What a real Neutron answered to all scenarios, as a file that people can read and compare.

Objects are written as what distinguishes them from the first of their kind with the same keys: the "bases" show the
keys and defaults of each resource, each call's line the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("golden.json")
PLAIN_KEYS = frozenset({"status", "type", "skipped"})
BASE = "="
"""The key under which an object names its base."""

Results = dict[str, list[dict[str, Any]]]
"""By scenario: what is recorded of each call."""


def title(group: str, name: str) -> str:
    """A scenario's key."""
    return f"{group}: {name}"


class _Bases:
    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self._names: dict[tuple[str, frozenset[str]], str] = {}

    def pack(self, kind: str, value: Any) -> Any:
        """The object as a difference; what is no object, or a small one, stays."""
        if not isinstance(value, Mapping) or len(value) < 6:
            return value
        key = (kind, frozenset(value))
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f"{kind} {sum(known[0] == kind for known in self._names) + 1}"
            self.objects[name] = dict(value)
        base = self.objects[name]
        return {BASE: name, **{part: item for part, item in value.items() if base[part] != item}}


def write(results: Results, version: str, path: Path = PATH) -> None:
    """Write the file: one line a call."""
    bases = _Bases()
    packed = {
        scenario: [
            {key: value if key in PLAIN_KEYS else _each(bases, key, value) for key, value in call.items()}
            for call in calls
        ]
        for scenario, calls in results.items()
    }
    lines = ["{", f'"neutron": {json.dumps(version)},', '"bases": {']
    lines.append(",\n".join(f"{json.dumps(name)}: {_line(base)}" for name, base in bases.objects.items()))
    lines += ["},", '"scenarios": {']
    lines.append(
        ",\n".join(
            f"{json.dumps(scenario)}: [\n" + ",\n".join(_line(call) for call in calls) + "\n]"
            for scenario, calls in packed.items()
        )
    )
    lines += ["}", "}", ""]
    path.write_text("\n".join(lines))


def read(path: Path = PATH) -> Results:
    """What was recorded. Raises FileNotFoundError."""
    document = json.loads(path.read_text())
    bases = document["bases"]

    def unpack(value: Any) -> Any:
        if isinstance(value, list):
            return [unpack(item) for item in value]
        if isinstance(value, dict) and BASE in value:
            return {**bases[value[BASE]], **{key: item for key, item in value.items() if key != BASE}}
        return value

    return {
        scenario: [{key: unpack(value) for key, value in call.items()} for call in calls]
        for scenario, calls in document["scenarios"].items()
    }


def _each(bases: _Bases, key: str, value: Any) -> Any:
    if isinstance(value, list):
        return [bases.pack(key.removesuffix("s"), item) for item in value]
    return bases.pack(key, value)


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def differences(expected: Mapping[str, Any], got: Mapping[str, Any]) -> list[str]:
    """What is not as it was recorded, each in a few words: `status 400, not 409`, `network: no key mtu`."""
    if "skipped" in expected or "skipped" in got:
        return [] if ("skipped" in expected) == ("skipped" in got) else ["an earlier call's object is missing"]
    if expected["status"] != got["status"]:
        return [f"status {_outcome(got)}, not {_outcome(expected)}"]
    found = []
    if expected.get("type") != got.get("type"):
        found.append(f"type {got.get('type')}, not {expected.get('type')}")
    for key in sorted((set(expected) | set(got)) - PLAIN_KEYS):
        if key not in got:
            found.append(f"no key {key}")
        elif key not in expected:
            found.append(f"additional key {key}")
        else:
            found += _value(key, expected[key], got[key])
    return found


def _outcome(result: Mapping[str, Any]) -> str:
    return f"{result['status']} {result['type']}" if "type" in result else str(result["status"])


def _value(where: str, expected: Any, got: Any) -> list[str]:
    if isinstance(expected, Mapping) and isinstance(got, Mapping):
        found = [f"{where}: no key {key}" for key in sorted(set(expected) - set(got))]
        found += [f"{where}: additional key {key}" for key in sorted(set(got) - set(expected))]
        for key in sorted(set(expected) & set(got)):
            found += _value(f"{where}.{key}", expected[key], got[key])
        return found
    if _is_objects(expected) and _is_objects(got):
        if len(expected) != len(got):
            return [f"{where}: {len(got)} items, not {len(expected)}"]
        found = []
        for one, other in zip(expected, got, strict=True):
            found += [text for text in _value(f"{where}[]", one, other) if text not in found]
        return found
    return [] if expected == got else [f"{where} {_short(got)}, not {_short(expected)}"]


def _is_objects(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, Mapping) for v in value)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:157] + "..."
