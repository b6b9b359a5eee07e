"""Expand the % tokens and ~ in values that `ssh -G` reports unexpanded: ssh_config(5), TOKENS."""

from __future__ import annotations

import os
import pwd
import re
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nssh.ssh.identity import Target


def expand(value: str, target: Target) -> str | None:
    """Return `value` with tokens, `${VARIABLE}` and a leading `~` replaced, or None if it has an unknown one."""
    account = pwd.getpwuid(os.getuid())
    # ssh uses the account's home directory, not $HOME.
    if value == "~" or value.startswith("~/"):
        value = account.pw_dir + value[1:]
    destination = target.destination.removeprefix("ssh://").rpartition("@")[2]
    tokens = {
        "%": "%",
        "d": account.pw_dir,
        "h": target.hostname,
        "i": str(os.getuid()),
        "k": target.host_key_alias or target.hostname,
        "l": socket.gethostname(),
        "L": socket.gethostname().partition(".")[0],
        "n": destination,
        "p": str(target.port),
        "r": target.user,
        "u": account.pw_name,
    }
    unknown = False

    def replace(match: re.Match[str]) -> str:
        nonlocal unknown
        found = tokens.get(match[1]) if match[1] else os.environ.get(match[2])
        unknown = unknown or found is None
        return found or ""

    expanded = re.sub(r"%(.)|\$\{([A-Za-z_]\w*)\}", replace, value)
    return None if unknown else expanded
