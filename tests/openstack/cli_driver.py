"""Many `openstack` commands in one process: a JSON list of words a line on stdin, an outcome a line on stdout.

Run by the peers' own Python, once for each cloud (OS_CLOUD): the client keeps its session with the token in classes.
Starting `openstack` costs more than a second, most commands then some milliseconds.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
from typing import Any


class Shell:
    """The client, made with the first command."""

    def __init__(self) -> None:
        self._app: Any = None

    def run(self, words: list[str]) -> dict[str, Any]:
        """Exit code and output of one command."""
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                if self._app is None:
                    self._start()
                    output.seek(0)
                    output.truncate()
                self._app.stdout, self._app.stderr = output, errors
                for handler in logging.getLogger().handlers:
                    if isinstance(handler, logging.StreamHandler):
                        handler.setStream(errors)
                code = self._app.run_subcommand(words)
            except SystemExit as ended:
                code = ended.code
        return {"code": 0 if code is None else code, "output": output.getvalue(), "errors": errors.getvalue()}

    def _start(self) -> None:
        from openstackclient import shell

        self._app = shell.OpenStackShell()
        self._app.run(["token", "issue"])  # any command, so that the session is there


def main() -> None:
    """Until the end of stdin."""
    shell = Shell()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    for line in sys.stdin:
        answers.write(json.dumps(shell.run(json.loads(line))) + "\n")


if __name__ == "__main__":
    main()
