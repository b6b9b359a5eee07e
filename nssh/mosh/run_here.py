"""Runs the two scripts about mosh-servers on this machine, where no ssh is in between."""

from __future__ import annotations

import os
import subprocess

from nssh.mosh import end_servers, list_servers
from nssh.mosh.list_servers import ListingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nssh.mosh.end_servers import EndMethod, SweepVerdict
    from nssh.mosh.mosh_servers import Listing, MoshServer

# What the scripts expect; over ssh `nssh.ssh.framing` adds a frame around the output.
_PRELUDE = """\
umask 077
unset ENV CDPATH
say() { printf '%s %s\\n' "$1" "$2"; }
finish() { exit "$1"; }
"""


def _command(name: str) -> list[str]:
    with open(os.path.join(os.path.dirname(__file__), name), encoding="utf-8") as file:
        return ["/bin/sh", "-c", _PRELUDE + file.read()]


def servers(timeout: float) -> Listing:
    """List this user's mosh-servers; blocks for `timeout` seconds at most.

    Raises:
        ListingError: The script failed, or told nonsense.
        OSError: It can't be started.
    """
    try:
        done = subprocess.run(
            _command("list_servers.sh"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=timeout, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ListingError("the list of processes took longer than %.0f s" % timeout) from None
    if done.returncode:
        raise ListingError("the script for its mosh-servers failed with status %d" % done.returncode)
    found = list_servers.read(done.stdout.decode("utf-8", "replace").split("\n"))
    return found._replace(addresses=(*found.addresses, "127.0.0.1", "::1"))


def end(chosen: Iterable[tuple[MoshServer, EndMethod]], on_verdict: Callable[[SweepVerdict], object]) -> None:
    """End servers; blocks for `end_servers.LONGEST` seconds at most. If it is interrupted, nobody is killed any more.

    Raises:
        OSError: The script can't be started.
    """
    orders = "".join(line + "\n" for line in end_servers.orders(chosen))
    command = _command("end_servers.sh")
    # Its session is its own: Ctrl-C must not end it between a look and a signal.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as script:
        assert script.stdin is not None  # noqa: S101 (for the type checker)
        assert script.stdout is not None  # noqa: S101
        try:
            script.stdin.write(orders.encode())
            script.stdin.close()
        except BrokenPipeError:
            pass  # its output ends, too
        try:
            for line in script.stdout:
                verdict = end_servers.read(line.decode("utf-8", "replace").rstrip("\n"))
                if verdict is not None:
                    on_verdict(verdict)
        except BaseException:
            script.kill()
            raise
