"""How long a sweep takes as a whole process, beside as many plain logins as it ends servers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.bench.place import DELAY
from tests.bench.rows import Row, Section, interleaved
from tests.lab.proxy import DelayProxy
from tests.lab.sshd import Sshd
from tests.sweep.support import start_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.bench.place import Lab
    from tests.bench.scale import Scale

SERVERS = 3


def measure(lab: Lab, scale: Scale) -> Section:
    """Time `nssh sweep --all` from its start to its end."""
    with _ways(lab) as ways:
        times = interleaved(scale.runs, ways)
    title = "Sweep"
    if not ways:
        return Section(title, [])
    what = f"sweep --all, {SERVERS} servers, 40 ms"
    return Section(title, [Row(what, times["sweep"], "ms", times["logins"], f"{SERVERS} × ssh host true")])


@contextlib.contextmanager
def _ways(lab: Lab) -> Iterator[Mapping[str, Callable[[], float]]]:
    """Yield what is to be measured; nothing where it can't be.

    The servers are those of an account of their own: a sweep of ours would end those of everybody else's tests.
    """
    if os.geteuid() != 0 or not lab.has_mosh:
        sys.stderr.write("bench: a sweep is only measured as root and with mosh\n")
        yield {}
        return
    with (
        Sshd(client=lab.client, alias="swept", account=True) as remote,
        DelayProxy(remote.address, remote.port, delay=DELAY) as link,
    ):
        lab.client.host("swept-far", "HostName 127.0.0.1", f"Port {link.port}", f"User {remote.user}")
        lab.client.know(f"[127.0.0.1]:{link.port}", remote.public(remote.host_key))

        def timed(*argv: str) -> float:
            begun = time.monotonic()
            subprocess.run(argv, env=lab.env, capture_output=True, check=True, stdin=subprocess.DEVNULL)
            return time.monotonic() - begun

        def sweep() -> float:
            for _ in range(SERVERS):
                start_server(remote, lab.laptop)
            return timed(*lab.nssh("sweep", "--all", "--min-age", "0", "swept-far"))

        def logins() -> float:
            return sum(timed(*lab.client.ssh, "swept-far", "true") for _ in range(SERVERS))

        yield {"sweep": sweep, "logins": logins}
