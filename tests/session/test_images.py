"""Images through a whole session, both ways, byte for byte; and what 64 MiB cost in memory on either side."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.lab.laptop import RemoteShell

if TYPE_CHECKING:
    from tests.lab.laptop import Laptop
    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real

MIB = 1 << 20

# Runs a command and tells the largest resident set of any of its processes, in KiB.
_MEASURED = "python3 -c 'import resource, subprocess, sys; s = subprocess.call(sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(s)'"  # noqa: E501  (one line for a shell)


@pytest.mark.parametrize("size", [10_000, MIB, 20 * MIB])
def test_an_image_goes_there_and_back_byte_for_byte(size: int, laptop: Laptop) -> None:
    with RemoteShell(laptop) as shell:
        laptop.wait_up()
        command = (
            f"cd; head -c {size} /dev/urandom > image && xclip -selection clipboard -t image/png image"
            " && xclip -selection clipboard -t image/png -o > copy && cmp image copy && wl-paste -t image/png > copy2"
            " && cmp image copy2 && echo same; rm -f image copy copy2"
        )
        assert shell.run(command) == (0, b"same\n")


def peak(pid: int) -> int:
    """Return the largest resident set that a process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found.group(1)) << 10


def test_64_mib_take_little_memory_on_either_side(relay_laptop: Laptop, remote: Sshd) -> None:
    with RemoteShell(relay_laptop) as shell:
        (record,) = relay_laptop.wait_up()
        before = peak(record.bridge)
        size = 64 * MIB
        status, output = shell.run(
            f"cd; head -c {size} /dev/urandom > image && {_MEASURED} xclip -selection clipboard -t image/png image"
            f" && {_MEASURED} sh -c 'xclip -selection clipboard -t image/png -o > copy' && cmp image copy && echo same;"
            " rm -f image copy"
        )
        assert status == 0, output
        copied, pasted = (int(line) << 10 for line in output.split()[:2])
        assert output.split()[2:] == [b"same"]
        grown = peak(record.bridge) - before
        relays = [peak(one.pid) for one in remote.leftovers() if _is_relay(one)]
    print(f"MiB: copying {copied >> 20}, pasting {pasted >> 20}, bridge +{grown >> 20}, relay {max(relays) >> 20}")
    assert copied < 32 * MIB
    assert pasted < 32 * MIB
    assert grown < 32 * MIB
    assert max(relays) < 64 * MIB


def _is_relay(process: psutil.Process) -> bool:
    try:
        return "serve" in process.cmdline()
    except psutil.Error:
        return False
