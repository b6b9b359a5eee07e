"""Time to the remote's prompt, from the start of the program to the moment in which a user could type."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from tests.bench.place import LINKS
from tests.bench.rows import Row, Section, interleaved, progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.place import Lab
    from tests.bench.scale import Scale


def measure(lab: Lab, scale: Scale) -> Section:
    """Run ssh, mosh and nssh in turn, over either link, then nssh that joins a session."""
    rows = []
    for host, link in LINKS.items():
        if scale.quick and host == "direct":
            continue
        near = host == "direct"
        ways = _ways(lab, host, near=near)
        times = interleaved(scale.runs, ways)
        # The design sets a budget for the slow link; on loopback what is added has no round trip to hide behind.
        budgets = (None, None) if near else (1.10, 1.00)
        row = Row(
            f"prompt, nssh --ssh, {link}", times["nssh --ssh"], "ms", times["ssh"], "ssh", budgets[0], relative=True
        )
        rows.append(row)
        if lab.has_mosh:
            row = Row(f"prompt, nssh, {link}", times["nssh"], "ms", times["mosh"], "mosh", budgets[1], relative=True)
            rows.append(row)
        if not scale.quick:
            rows += _joining(lab, scale, host, link)
    return Section("Time to the prompt", rows)


def _ways(lab: Lab, host: str, *, near: bool) -> dict[str, Callable[[], float]]:
    ways = {
        "ssh": lambda: lab.prompt(*lab.client.ssh, host),
        "nssh --ssh": lambda: lab.prompt(*lab.nssh("--ssh", host)),
    }
    if lab.has_mosh:
        ways["mosh"] = lambda: lab.prompt("mosh", f"--ssh={shlex.join(lab.client.ssh)}", host, near=near)
        ways["nssh"] = lambda: lab.prompt(*lab.nssh(host), near=near)
    else:
        progress("mosh is not installed: its rows are missing")
    return ways


def _joining(lab: Lab, scale: Scale, host: str, link: str) -> list[Row]:
    """A second session beside a live one: it asks the first whether it is alive, and prepares no remote."""
    with lab.session(host):
        ways = {
            "ssh": lambda: lab.prompt(*lab.client.ssh, host, alone=False),
            "nssh --join --ssh": lambda: lab.prompt(*lab.nssh("--join", "--ssh", host), alone=False),
        }
        times = interleaved(scale.runs, ways)
    note = "alive is a measured answer, so that one round trip over the bus comes before ssh"
    return [Row(f"prompt, nssh --join --ssh, {link}", times["nssh --join --ssh"], "ms", times["ssh"], "ssh", note=note)]
