"""Packs the script that prepares a remote, and reads its answer: session file, event log, mosh-server if it is wanted.

It runs in the user's own login (`nssh/ssh/login.py`), or over the finished connection (`actors/remote_host.py`).
Standard library only, on the way to ssh.
"""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from nssh import __version__
from nssh.ssh import framing

_LOCALE = ("LANG", "LANGUAGE", "LC_CTYPE", "LC_NUMERIC", "LC_TIME", "LC_COLLATE", "LC_MONETARY", "LC_MESSAGES",
           "LC_PAPER", "LC_NAME", "LC_ADDRESS", "LC_TELEPHONE", "LC_MEASUREMENT", "LC_IDENTIFICATION",
           "LC_ALL")  # fmt: skip


class PreparedRemote(NamedTuple):
    """What the script told about the remote."""

    version: str
    """The installed nssh as `version digest python`; empty if there is none."""
    problem: str
    """Why the session file could not be written; empty if it was."""
    server_address: str
    """The remote's own address as its sshd sees it; empty if it is not known."""
    mosh: bool
    """Whether mosh-server was asked for and is there."""
    mosh_port: str
    mosh_key: str
    """The session's key: a secret, for mosh-client's environment only."""
    mosh_error: str
    """What mosh-server said when it did not start; empty if it did, or was not asked for."""
    go_shims: bool = False
    """Whether the Go program's shims are installed."""


def script(
    session: str,
    *,
    opened: str = "",
    mosh: tuple[str, ...] = (),
    mosh_timeouts: tuple[float, float] = (0.0, 0.0),
) -> framing.Script:
    """Return the script that prepares a remote.

    Args:
        session: The text of the session file; empty to leave the remote's as it is.
        opened: The result of `session_open`, to be written to the remote's event log; empty to write nothing.
        mosh: The arguments of mosh-server; empty to start none.
        mosh_timeouts: MOSH_SERVER_NETWORK_TMOUT and MOSH_SERVER_SIGNAL_TMOUT in seconds; 0 keeps the remote's own.

    Raises:
        ValueError: An argument of mosh-server holds a newline.
    """
    content = session.encode()
    # The session's text is read by size: it may have any number of lines.
    timeouts = (str(-int(-seconds // 1)) for seconds in mosh_timeouts)  # mosh-server takes whole ones, and 0 for none
    tail = "mosh\n" + "".join(f"{word}\n" for word in (*timeouts, str(len(mosh)), *mosh)) if mosh else "\n"
    if any("\n" in word for word in mosh):
        raise ValueError("a command with a newline in it can't be given to mosh-server; use --ssh")
    return framing.pack(
        go_shims() + framing.source(__file__, "prepare_remote.sh"),
        data=b"%d\n" % len(content) + content + f"{opened}\n{tail}".encode(),
    )


def go_shims() -> str:
    """Return a part of a script that says `go-shims yes` if the Go program's shims are on the remote."""
    return framing.source(__file__, "go_shims.sh")


def session_open(server: str, target: str) -> str:
    """Return the fields of `session-open` (docs/protocol.md, "Events"), which tells the remote's log of a session."""
    return json.dumps({"server": server, "target": target, "version": __version__}, separators=(",", ":"))[1:-1]


def mosh_arguments(colors: str, command: tuple[str, ...], environ: dict[str, str] | None = None) -> tuple[str, ...]:
    """Return mosh-server's arguments, as the mosh wrapper gives them: ssh's address, our colours, our locale."""
    words = ["new", "-s", "-c", colors]
    for name in _LOCALE:
        value = (os.environ if environ is None else environ).get(name)
        if value and "\n" not in value:
            words += ["-l", f"{name}={value}"]
    # Only used by mosh-server when the remote's own locale is not UTF-8.
    if "-l" not in words:
        words += ["-l", "LANG=C.UTF-8"]
    return (*words, "--", *command) if command else tuple(words)


def read(answer: framing.Answer) -> PreparedRemote:
    """Read the answer of the script."""
    fields = answer.fields
    address = fields.get("address", "").split()
    port = key = ""
    trouble: list[str] = []
    for line in answer.lines:
        words = line.split()
        if words[:2] == ["MOSH", "CONNECT"]:
            if len(words) == 4 and _is_port(words[2]) and _is_key(words[3]):
                port, key = words[2:]
            else:
                trouble.append("mosh-server answered something else than a port and a key")
        elif "mosh" in line.lower() and not line.startswith(("mosh yes", "version ", "problem ", "[mosh-server")):
            trouble.append(line.strip())
    return PreparedRemote(
        version=fields.get("version", ""),
        problem=fields.get("problem", ""),
        server_address=address[2] if len(address) == 4 and _is_address(address[2]) else "",
        mosh=fields.get("mosh") == "yes",
        mosh_port=port,
        mosh_key=key,
        mosh_error=trouble[0] if trouble and not port else "",
        go_shims=fields.get("go-shims") == "yes",
    )


# The values below become mosh-client's arguments and environment, and the remote may be hostile.


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536


def _is_key(text: str) -> bool:
    """Whether a text is 16 bytes in base64 without padding."""
    return len(text) == 22 and text.isascii() and text.replace("+", "a").replace("/", "a").isalnum()


def _is_address(text: str) -> bool:
    address, percent, zone = text.partition("%")
    if ":" in address:
        return not set(address.lower()) - set("0123456789abcdef:.") and (zone.isalnum() or not percent)
    return not percent and address.count(".") == 3 and not set(address) - set("0123456789.")
