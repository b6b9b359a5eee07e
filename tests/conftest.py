"""What holds for all tests."""

from __future__ import annotations

import signal

# A shell that starts the tests in the background has its jobs ignore these, and every program under test would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
