"""For all tests: signals as a terminal gives them, and examples that may take their time on a busy machine."""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("cove", deadline=None)
settings.load_profile("cove")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell that runs the tests in the background ignores it, and every process started from here would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
