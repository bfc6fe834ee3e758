"""For all tests: signals as a terminal gives them."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell that runs the tests in the background ignores it, and every process started from here would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
