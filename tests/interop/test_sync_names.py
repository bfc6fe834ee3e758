"""The synchronous facade has every public name of Ceph's own Python module, with its parameters and defaults."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
from typing import Any

import pytest

from cove.rados import sync

from .peer import DEBIAN_PYTHON

DUMP = """
import inspect, json, rados
found = {"classes": {}, "values": {}, "functions": {}}
for name in dir(rados):
    item = getattr(rados, name)
    if name.startswith("_") or inspect.ismodule(item):
        continue
    if inspect.isclass(item) and item.__module__ == "rados":
        found["classes"][name] = {
            "bases": [base.__name__ for base in item.__mro__ if base.__module__ == "rados"],
            "members": {m: (getattr(item, m).__doc__ or "").split("\\n")[0] for m in dir(item) if m[0] != "_"},
        }
    elif isinstance(item, (int, str, list)):
        found["values"][name] = item
    elif type(item).__name__ == "cython_function_or_method":
        found["functions"][name] = item.__doc__.split("\\n")[0]
print(json.dumps(found))
"""
DEFAULTS = {"LIBRADOS_OPERATION_NOFLAG": 0, "LIBRADOS_CMPXATTR_OP_EQ": 1, "None": None, "False": False}
NEWER = {"omap_key_type"}
"""Parameters at the end that newer releases have."""


@pytest.fixture(scope="module")
def theirs(ceph_is_installed: None) -> dict[str, Any]:
    """All names of Ceph's module."""
    done = subprocess.run([DEBIAN_PYTHON, "-c", DUMP], capture_output=True, check=True, timeout=30)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def parameters(text: str) -> list[tuple[str, Any]] | None:
    """Names and defaults of what Cython writes into docstrings; None where there is no signature."""
    match = re.match(r"(?:\w+\.)?\w+\(((?:[^()]|\([^()]*\))*)\)", text)
    if match is None:
        return None
    found: list[tuple[str, Any]] = []
    depth, part, parts = 0, "", []
    for character in match[1] + ",":
        depth += (character in "[(") - (character in "])")
        if character == "," and not depth:
            parts.append(part.strip())
            part = ""
        else:
            part += character
    for item in parts:
        left, equals, default = item.partition(" = ") if " = " in item else item.partition("=")
        name = left.partition(":")[0].split()[-1] if left.strip() else ""
        if name and not name.startswith("*"):
            value = default.strip()
            known = value.lstrip("u").strip("'\"") if value[:1] in "u'\"" and value else None
            plain = DEFAULTS[value] if value in DEFAULTS else known if known is not None else int(value or 0)
            found.append((name, plain if equals else inspect.Parameter.empty))
    return found


def our_parameters(function: Any) -> list[tuple[str, Any]]:
    """The same of one of our functions."""
    return [
        (item.name, item.default)
        for item in inspect.signature(function).parameters.values()
        if item.kind is not inspect.Parameter.VAR_POSITIONAL and item.name not in NEWER
    ]


def test_values(theirs: dict[str, Any]) -> None:
    for name, value in theirs["values"].items():
        assert getattr(sync, name) == value, name


def test_classes(theirs: dict[str, Any]) -> None:
    assert len(theirs["classes"]) > 30
    for name, found in theirs["classes"].items():
        cls = getattr(sync, name)
        bases = [base.__name__ for base in cls.__mro__ if base.__module__.startswith("cove")]
        if issubclass(cls, Exception):
            assert bases == found["bases"], name
        else:
            assert set(found["bases"]) <= set(bases), name


def test_members(theirs: dict[str, Any]) -> None:
    compared = 0
    instances = {"Rados": sync.Rados(name="client.names"), "Ioctx": sync.Ioctx, "Completion": sync.Completion}
    attributes = {
        "Ioctx": {"name", "rados", "state", "lock", "nspace", "locator_key"},
        "Object": set(),
        "Snap": {"ioctx", "name", "snap_id"},
        "XattrIterator": {"ioctx", "oid"},
        "SnapIterator": {"ioctx"},
        "ObjectIterator": {"ioctx"},
        "OmapIterator": {"ioctx", "omap_key_type"},
    }
    for name, found in theirs["classes"].items():
        cls = getattr(sync, name)
        for member, text in found["members"].items():
            assert hasattr(cls, member) or hasattr(instances.get(name), member) or member in attributes.get(name, ()), (
                f"{name}.{member}"
            )
            wanted = parameters(text)
            if wanted is None or not callable(getattr(cls, member, None)) or issubclass(cls, Exception):
                continue
            assert our_parameters(getattr(cls, member)) == wanted, f"{name}.{member}"
            compared += 1
    assert compared > 120


def test_functions(theirs: dict[str, Any]) -> None:
    for name, text in theirs["functions"].items():
        wanted = parameters(text)
        assert wanted is not None
        assert our_parameters(getattr(sync, name)) == wanted, name
    assert theirs["functions"]


def test_all_is_complete() -> None:
    public = {name for name, item in vars(sync).items() if name[0] != "_" and not inspect.ismodule(item)}
    assert public == set(sync.__all__)
