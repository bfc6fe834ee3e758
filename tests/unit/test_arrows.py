"""The imports point one way, as docs/architecture.md draws them, and `wire/` does no I/O."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "cove"

COMMON = {"config", "errors", "tasks", "timeline"}
ALLOWED: dict[str, set[str]] = {
    "wire": set(),
    "messenger": {"wire"},
    "rados": {"messenger", "wire"},
    "rbd": {"rados", "wire"},
    "store": {"messenger", "wire"},
    "linux": set(),
    "bus": set(),
    "db": set(),
    "network": {"bus", "db"},
    "identity": {"db", "linux"},
    "dhcp": {"bus", "linux"},
    "compute": {"bus", "db", "linux", "rbd"},
    "api": {"db", "identity", "network"},
    "cli": {"api", "compute", "daemon", "db", "network", "rados", "rbd"},
    "daemon": {
        "api",
        "bus",
        "compute",
        "db",
        "dhcp",
        "identity",
        "linux",
        "messenger",
        "network",
        "rados",
        "rbd",
        "store",
    },
}
IO_MODULES = {"asyncio", "socket", "time", "threading", "ssl", "select", "selectors", "os", "random", "secrets"}


def imports_of(path: Path) -> set[tuple[str, ...]]:
    """Absolute dotted names of what a module imports."""
    package = ("cove", *path.relative_to(SOURCE).parent.parts)
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            found |= {(*module, alias.name) for alias in node.names} | {module}
    return found


PACKAGES = sorted(path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.glob("*.py")))


def test_every_package_has_its_arrows() -> None:
    assert set(PACKAGES) == set(ALLOWED)


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows(package: str) -> None:
    allowed = ALLOWED[package] | {package} | (COMMON if package != "wire" else set())
    modules = {path.stem for path in SOURCE.iterdir()}
    for path in (SOURCE / package).rglob("*.py"):
        for name in imports_of(path):
            if name[0] == "cove" and len(name) > 1 and name[1] in modules:
                assert name[1] in allowed, f"{path.relative_to(SOURCE)} imports cove.{name[1]}"


def test_wire_does_no_io() -> None:
    for path in (SOURCE / "wire").rglob("*.py"):
        for name in imports_of(path):
            assert name[0] not in IO_MODULES, f"{path.name} imports {name[0]}"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_stay_at_a_size_one_can_hold_in_the_head(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 500
    if "migrations" not in path.parts:
        assert ast.get_docstring(ast.parse(text)), "a module opens with what it is"
