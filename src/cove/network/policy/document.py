"""The tables of rules in docs/policy.md, made from policy.toml: `python -m cove.network.policy.document`."""

from __future__ import annotations

from pathlib import Path

from cove.network.policy.files import default_sections

BEGIN = "<!-- rules: written by python -m cove.network.policy.document -->"


def tables() -> str:
    """One table for each heading of policy.toml, in Markdown."""
    parts = []
    for heading, rules in default_sections().items():
        lines = [f"### {heading}", "", "| rule | who may |", "| --- | --- |"]
        for name, text in rules.items():
            shown = text.replace("|", "\\|")
            lines.append(f"| `{name}` | {f'`{shown}`' if text else 'everybody'} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def written(document: str) -> str:
    """A document with the tables of today after its mark. Raises ValueError if it has none."""
    text, mark, _old = document.partition(BEGIN)
    if not mark:
        raise ValueError(f"the document has no line {BEGIN}")
    return f"{text}{BEGIN}\n\n{tables()}"


if __name__ == "__main__":
    path = Path("docs/policy.md")
    path.write_text(written(path.read_text()))
