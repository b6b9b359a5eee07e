"""`python -m tests.soak`: three sessions of one target while all breaks around them, and what must hold in the end.

    python -m tests.soak [--bus relay|ntfy] [--seconds 600] [--seed N] [--keep]

Without `--bus` both are soaked, at the same time, each in a process of its own. Prints counts, and what is wrong; exits
with 1 then, and keeps logs. The seed decides what breaks when and what programs do; processes and links take their own
time, so that the same seed comes close to the same run.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
from pathlib import Path

BUSES = ("relay", "ntfy")
LOGS = Path(__file__).resolve().parents[2] / ".lab/soak"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Break everything for a while.")
    parser.add_argument("--bus", choices=BUSES, help="default: both")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long things break, on each bus")
    parser.add_argument("--seed", type=int, default=None, help="default: a random one")
    parser.add_argument("--logs", type=Path, default=LOGS, help="where logs go; default: .lab/soak")
    parser.add_argument("--keep", action="store_true", help="keep the logs of a soak in which all was well, too")
    return parser.parse_args()


def main() -> int:
    """Soak; return the exit code."""
    wanted = _arguments()
    seed = wanted.seed if wanted.seed is not None else random.SystemRandom().randrange(1 << 32)
    if wanted.bus is None:
        words = [sys.executable, "-m", "tests.soak", "--seconds", str(wanted.seconds), "--seed", str(seed)]
        words += ["--logs", str(wanted.logs), *(["--keep"] if wanted.keep else [])]
        started = [subprocess.Popen([*words, "--bus", bus]) for bus in BUSES]
        return max(process.wait() for process in started)
    from tests.soak.run import Soak

    logs = wanted.logs / f"{wanted.bus}-{seed}"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    is_well = Soak(wanted.bus, wanted.seconds, seed, logs).run()
    if is_well and not wanted.keep:
        shutil.rmtree(logs)
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
