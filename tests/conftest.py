"""What holds for all tests."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.no_skips"]

# A shell that starts the tests in the background, or nohup, has its jobs ignore some of these, and every program under
# test would, too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# Set in many containers, and for nobody who uses the program: output that is not written at once may fail at exit.
os.environ.pop("PYTHONUNBUFFERED", None)

# A loaded machine is no failure: no property is about time. `make quick` looks at fewer examples.
settings.register_profile(
    "nssh",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=20 if os.environ.get("NSSH_TESTS") == "quick" else 100,
)
settings.load_profile("nssh")
