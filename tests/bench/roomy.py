"""The relay without its limit on connections and without the shell's on files: to measure what a thousand cost.

`python -m tests.bench.roomy serve …`, as `python -m nssh.relay serve …`.
"""

from __future__ import annotations

import resource
import sys

from nssh.relay import main, server

if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server.MAX_CONNECTIONS = 1 << 20
    sys.exit(main.main(sys.argv[1:]))
