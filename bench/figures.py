"""Percentiles, tables and the JSON line that every benchmark ends with."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def memory_mib(pid: int) -> dict[str, float]:
    """Resident memory of a process in MiB: all of it, and without file pages (which the kernel can drop)."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "rss_mib": round(int(fields["VmRSS"].split()[0]) / 1024, 1),
        "anonymous_mib": round(int(fields["RssAnon"].split()[0]) / 1024, 1),
    }


def report(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows as a table, then all of it as one JSON line."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    texts = [[str(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(column), *(len(text[i]) for text in texts)) for i, column in enumerate(columns)]
    for cells in (columns, *texts):
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    print(json.dumps({"benchmark": name, "python": platform.python_version(), "rows": list(rows)}))
