"""Fuzz by coverage with atheris, a target after another: `python -m tests.fuzz [--runs 100000] [TARGET…]`.

Each target runs in a process of its own, since atheris ends its process; an input that crashes or hangs is kept beside
its traceback, and the status is 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import SEEDS, TARGETS

_HANG = 10


def fuzz(name: str, runs: int, corpus: Path) -> None:
    """Run one target in this process; never returns."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # for `make fuzz` alone

    atheris.instrument_all()
    atheris.Setup(
        [sys.argv[0], f"-runs={runs}", f"-timeout={_HANG}", "-max_len=4096", "-rss_limit_mb=2048", "-verbosity=1",
         f"-artifact_prefix={corpus}/", str(corpus)],
        TARGETS[name],
    )  # fmt: skip
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--child", nargs=2, metavar=("TARGET", "CORPUS"), help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], metavar="TARGET", help=", ".join(TARGETS))
    arguments = parser.parse_args()
    if arguments.child:
        fuzz(arguments.child[0], arguments.runs, Path(arguments.child[1]))
    failed = 0
    for name in arguments.targets or TARGETS:
        corpus = Path(tempfile.mkdtemp(prefix=f"nssh-fuzz-{name}-"))
        for number, seed in enumerate(SEEDS[name]):
            (corpus / f"seed{number}").write_bytes(seed)
        argv = [sys.executable, "-m", "tests.fuzz", "--runs", str(arguments.runs), "--child", name, str(corpus)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        crashes = [path for path in corpus.iterdir() if path.name.startswith(("crash-", "timeout-", "oom-"))]
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        sys.stdout.write(f"{name}: {'ok' if not crashes and not done.returncode else 'FAILED'} {' '.join(last)}\n")
        if crashes or done.returncode:
            failed = 1
            sys.stdout.write(done.stderr[-4000:] + "".join(f"{path}\n" for path in crashes))
    return failed


if __name__ == "__main__":
    sys.exit(main())
