"""What the documentation names is there: files, functions, commands."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer.main

from cove.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
POINTERS = sorted(set(re.findall(r"`([\w/]+\.py)(?::([\w.]+))?`", (ROOT / "docs" / "architecture.md").read_text())))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def names_in(path: Path) -> set[str]:
    names: set[str] = set()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    collect(node.body, f"{prefix}{node.name}.")

    collect(ast.parse(path.read_text()).body, "")
    return names


@pytest.mark.parametrize(("file", "name"), POINTERS)
def test_pointers_of_the_architecture(file: str, name: str) -> None:
    path = ROOT / file if file.startswith("tests/") else ROOT / "src" / "cove" / file
    assert path.is_file()
    if name:
        assert name in names_in(path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def command_lines() -> list[str]:
    """Every `cove …` that the documents show, without options and arguments."""
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    return sorted(set(re.findall(r"(?:`|bin/)cove ((?:[a-z-]+ ?){1,2})", text)))


@pytest.mark.parametrize("line", command_lines())
def test_commands_that_the_documents_show_exist(line: str) -> None:
    command = typer.main.get_command(app)
    for word in line.split():
        children = getattr(command, "commands", None)
        if children is None:
            return  # an argument
        assert word in children, line
        command = children[word]


def all_commands() -> list[str]:
    found = []

    def walk(command: object, words: list[str]) -> None:
        children = getattr(command, "commands", None)
        if children is None:
            found.append(" ".join(words))
        else:
            for name, child in children.items():
                walk(child, [*words, name])

    walk(typer.main.get_command(app), [])
    return found


@pytest.mark.parametrize("command", all_commands())
def test_every_command_is_documented(command: str) -> None:
    assert f"| `cove {command}" in (ROOT / "docs" / "commands.md").read_text()
