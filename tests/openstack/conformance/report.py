"""`python -m tests.openstack.conformance.report [OUT.md]`: plays all scenarios to a Cove of its own.

Writes what differs from the recorded Neutron, by resource.

For people who work on Cove. The tests say the same of what `deviations.py` does not allow; this says all of it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..cloud import Cloud
from . import golden
from .calls import Scenario
from .deviations import reason
from .play import play
from .table import SCENARIOS

EXAMPLES_MAX = 4
SETTINGS = {"dns_domain": "cove.test", "physical_networks": '["physnet1"]', "test_ready": "0"}
"""Of a Cove that is to answer as the Neutron of `neutron_server.py` does."""


def compare(scenario: Scenario, expected: list[dict[str, Any]], got: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(call, difference) for all that is not as recorded, and not allowed either."""
    title = golden.title(scenario.group, scenario.title)
    found = []
    for call, one, other in zip(scenario.calls, expected, got, strict=True):
        words = str(call) if call.body is None else f"{call} {json.dumps(call.body)}"
        for text in golden.differences(one, other):
            if reason(title, str(call), text) is None:
                found.append((words, text))
    return found


def main() -> None:
    """Write the report."""
    recorded = golden.read()
    groups: dict[str, dict[str, list[str]]] = {}
    calls = 0
    with (
        tempfile.TemporaryDirectory(prefix="cove-report-", dir="/var/tmp") as directory,
        Cloud(Path(directory), **SETTINGS) as cloud,
    ):
        peer = cloud.peer()
        for scenario in SCENARIOS:
            calls += len(scenario.calls)
            by_text = groups.setdefault(scenario.group, {})
            try:
                answers = play(peer, scenario)
                found = compare(scenario, recorded[golden.title(scenario.group, scenario.title)], answers)
            except (AssertionError, ValueError) as error:
                found = [("afterwards", str(error)[:300])]
            for call, text in found:
                by_text.setdefault(text, []).append(f"{call} ({scenario.title})")
        peer.close()
    lines = [f"# Differences from a real Neutron: {calls} calls", "", __doc__ or ""]
    for group, by_text in groups.items():
        count = sum(map(len, by_text.values()))
        lines += [f"## {group}: {count}", ""]
        for text, where in sorted(by_text.items(), key=lambda item: -len(item[1])):
            lines.append(f"- {text} ({len(where)} times)")
            lines += [f"    - {example[:400]}" for example in where[:EXAMPLES_MAX]]
        lines.append("")
    output = "\n".join(lines)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(output)
    else:
        sys.stdout.write(output)


if __name__ == "__main__":
    main()
