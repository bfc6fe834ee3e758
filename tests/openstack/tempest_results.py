"""From a subunit stream on stdin to a JSON line a test on stdout. Run by the peers' own Python, which has `subunit`."""

from __future__ import annotations

import json
import sys
from typing import Any

TEXT_MAX = 20_000


def main() -> None:
    """Read to the end."""
    import subunit
    import testtools

    def tell(test: dict[str, Any]) -> None:
        details = test["details"].items()
        texts = {name: detail.as_text() for name, detail in details if detail.content_type.type == "text"}
        start, end = test["timestamps"]
        print(
            json.dumps(
                {
                    "id": test["id"],
                    "status": test["status"],
                    "seconds": (end - start).total_seconds() if start and end else 0.0,
                    "reason": texts.get("reason", ""),
                    "text": "\n".join(text for name, text in texts.items() if "traceback" in name)[-TEXT_MAX:],
                    "log": texts.get("pythonlogging:''", "")[-TEXT_MAX:],
                }
            )
        )

    result = testtools.StreamToDict(tell)
    result.startTestRun()
    subunit.ByteStreamToStreamResult(sys.stdin.buffer, non_subunit_name="stdout").run(result)
    result.stopTestRun()


if __name__ == "__main__":
    main()
