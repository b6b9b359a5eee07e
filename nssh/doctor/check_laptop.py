"""Checks the laptop: configuration, state directory, clipboard, browser, ssh, and what `ssh -G` says of the host."""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from nssh.base import spawn
from nssh.base.errors import ConnectError, ToolError
from nssh.config import settings
from nssh.doctor.report import failed, ok, warning
from nssh.ssh import identity
from nssh.wire import files

if TYPE_CHECKING:
    from nssh.doctor.report import Result
    from nssh.doctor.step_runner import Examination


def configuration(exam: Examination) -> Result:
    """Check config.toml and its permissions."""
    exam.config = settings.load()
    path = settings.config_path()
    there = os.path.exists(path)
    ours = [name for name in ("NSSH_NTFY_BASE", "NSSH_SSH") if os.environ.get(name)]
    beaten = f"; ${' and $'.join(ours)} from the environment" if ours else ""
    return ok(f"{path if there else 'no config.toml, so the defaults'}; the bus is {exam.config.server}{beaten}")


def state_directory(_: Examination) -> Result:
    """Check that the state directory can be written, without leaving a file in it."""
    path = files.state_dir()
    nearest = path
    while not os.path.lexists(nearest):
        nearest = os.path.dirname(nearest)
    advice = f"make {nearest} a directory that you may write to: without it clipboard and browser stay unconnected"
    if not os.path.isdir(nearest):
        return failed(f"{nearest} is not a directory", advice)
    if nearest != path:
        # The first session creates the directory, the doctor does not.
        return (
            ok(f"{path} will be made") if os.access(nearest, os.W_OK | os.X_OK) else failed("it can't be made", advice)
        )
    info = os.stat(path, follow_symlinks=False)
    if stat.S_ISLNK(info.st_mode) or info.st_uid != os.geteuid():
        return failed(f"{path} is not a directory of your own", advice)
    try:
        # A file without a name can't be left behind. 4096 bytes: a full disk still takes empty files.
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            advice = "make room there: without it clipboard and browser stay unconnected"
        return failed(f"{path} can't be written: {error.strerror}", advice)
    if info.st_mode & 0o077:
        return warning(f"{path} is open to others until the next session closes it", f"chmod 700 {path}")
    return ok(path)


def clipboard(exam: Examination) -> Result:
    """Check that the clipboard tells its types. Its content is neither read nor replaced."""
    from nssh.local.clipboard import ClipboardEmpty, MemoryClipboard, detect
    from nssh.local.clipboard_content import SensitiveError

    backend = detect(config=exam.config.clipboard)
    if isinstance(backend, MemoryClipboard):
        return warning(
            f"this machine has none ({backend.reason}): programs on the remote share one in memory",
            "start nssh where your desktop is, or set [clipboard] copy and paste in config.toml",
        )
    started = time.monotonic()
    try:
        types = backend.targets()
    except ClipboardEmpty:
        types = []
    except SensitiveError:
        types = ["a password, which is not sent"]
    except ToolError as error:
        return failed(f"{backend.name}: {error}", "copy and paste must work on this machine before they can elsewhere")
    shown = ", ".join(types[:6]) or "nothing at present"
    # A write would destroy the user's clipboard: not all of its types can be read and put back.
    return ok(f"{backend.name}, which holds {shown} (writing is not tried)", time.monotonic() - started)


def browser(exam: Examination) -> Result:
    """Check that there is a program that opens URLs."""
    from nssh.local.browser_launcher import launchers

    command = exam.config.browser.command
    found = launchers(command or None, os.environ)
    if not found:
        return failed("no browser was found", "set [browser] command in config.toml, or $BROWSER")
    if command and os.path.basename(found[0][0]) != os.path.basename(command[0]):
        return failed(
            f"[browser] command names {command[0]}, which is not on the PATH; {found[0][0]} would be used",
            "correct [browser] command in config.toml",
        )
    shown = " ".join(found[0])
    desktop = any(os.environ.get(name) for name in ("WAYLAND_DISPLAY", "DISPLAY", "WSL_DISTRO_NAME"))
    if not (command or os.environ.get("BROWSER") or desktop) and sys.platform.startswith("linux"):
        return warning(
            f"{shown} has no desktop to open a URL on (neither WAYLAND_DISPLAY nor DISPLAY is set)",
            "start nssh where your desktop is, or set [browser] command in config.toml",
        )
    return ok(shown)


def ssh(exam: Examination) -> Result:
    """Check that the ssh client is OpenSSH, and tell its version."""
    command = exam.config.ssh.command
    try:
        status, output = spawn.capture([*command, "-V"], merge_stderr=True)
    except OSError as error:
        return failed(f"{command[0]}: {error.strerror}", "install the OpenSSH client, or set [ssh] command")
    said = (output.decode("utf-8", "replace").strip().splitlines() or ["no version"])[-1]
    if status or "OpenSSH" not in said:
        return warning(f"{' '.join(command)} does not call itself OpenSSH: {said}", "nssh is made for OpenSSH's ssh")
    return ok(f"{' '.join(command)}: {said.partition(',')[0]}")


def target(exam: Examination) -> Result:
    """Ask `ssh -G` for the host's address, user and port."""
    try:
        exam.target = identity.resolve(exam.config.ssh.command, exam.host, exam.options.ssh_options)
    except ConnectError as error:
        return failed(str(error), "correct your ssh configuration, or the options given")
    way = f", through {exam.target.jump}" if exam.target.jump else ", by a ProxyCommand" if exam.target.proxied else ""
    own = ", with a ControlPath of yours" if exam.target.control_path else ""
    return ok(f"{exam.target.user}@{exam.target.hostname} port {exam.target.port}{way}{own}")
