"""docs/policy.md lists the rules that there are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from cove.network.policy import Policy
from cove.network.policy.document import written
from cove.network.policy.files import default_texts

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "policy.md"


def test_the_tables_are_of_today() -> None:
    text = DOCUMENT.read_text()
    assert written(text) == text, "run: python -m cove.network.policy.document"
    for name in default_texts():
        assert f"| `{name}` |" in text


def test_a_document_without_a_place_for_the_tables() -> None:
    with pytest.raises(ValueError, match="has no line"):
        written("# Policy\n")


def test_the_example_can_be_used(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    file = tmp_path / "policy.toml"
    file.write_text(example)
    assert tomllib.loads(example).keys() <= Policy.load(file).rules.keys()
