"""Real displays without a screen: an X server (Xvfb) and a Wayland compositor (sway), each private to a test."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.lab.system import require

if TYPE_CHECKING:
    from collections.abc import Iterator

START_DEADLINE = 60.0
_SCREEN = ("-screen", "0", "64x64x24", "-nolisten", "tcp", "-noreset")


class Account(NamedTuple):
    user: int | None = None
    group: int | None = None
    groups: list[int] | None = None


@contextlib.contextmanager
def xvfb() -> Iterator[dict[str, str]]:
    """Run an X server on a free display; yields the environment its clients need (`DISPLAY`, `XAUTHORITY`).

    Only who has the cookie may connect, and only over the unix socket: other users of the machine can't look in.
    """
    (program,) = require("Xvfb")
    with tempfile.TemporaryDirectory(prefix="nssh-", dir="/tmp") as directory:
        authority = Path(directory, "authority")
        authority.write_bytes(_cookie())
        authority.chmod(0o600)
        read_end, write_end = os.pipe()
        try:
            server = _start(
                [program, "-displayfd", str(write_end), "-auth", str(authority), *_SCREEN],
                Path(directory, "log"),
                pass_fds=(write_end,),
            )
        finally:
            os.close(write_end)
        try:
            number = _read_line(read_end, server, Path(directory, "log"))
            yield {"DISPLAY": f":{number}", "XAUTHORITY": str(authority)}
        finally:
            os.close(read_end)
            stop(server)


@contextlib.contextmanager
def wayland() -> Iterator[dict[str, str]]:
    """Run a Wayland compositor; yields the environment its clients need (`WAYLAND_DISPLAY`, `XDG_RUNTIME_DIR`).

    sway's data-control protocol lets wl-clipboard work without a window, a seat's devices or the focus. It refuses to
    run as root and becomes `nobody` then.
    """
    (program,) = require("sway")
    with tempfile.TemporaryDirectory(prefix="nssh-", dir="/tmp") as directory:
        config = Path(directory, "config")
        config.write_text("xwayland disable\n")
        runtime = Path(directory, "run")
        runtime.mkdir(mode=0o700)
        account = Account()
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            account = Account(nobody.pw_uid, nobody.pw_gid, [])
            Path(directory).chmod(0o711)
            os.chown(runtime, nobody.pw_uid, nobody.pw_gid)
        environ = {name: value for name, value in os.environ.items() if name not in {"DISPLAY", "WAYLAND_DISPLAY"}}
        environ |= {
            "XDG_RUNTIME_DIR": str(runtime),
            "WLR_BACKENDS": "headless",
            "WLR_RENDERER": "pixman",
            "WLR_LIBINPUT_NO_DEVICES": "1",
            "LIBSEAT_BACKEND": "noop",
        }
        server = _start([program, "-c", str(config)], Path(directory, "log"), env=environ, account=account)
        try:
            name = _wait_for_socket(runtime, server, Path(directory, "log"))
            yield {"WAYLAND_DISPLAY": name, "XDG_RUNTIME_DIR": str(runtime)}
        finally:
            stop(server)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads its own session, with everything in it, and reap it."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _start(
    argv: list[str],
    log: Path,
    *,
    env: dict[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
    account: Account | None = None,
) -> subprocess.Popen[bytes]:
    account = account or Account()
    with log.open("wb") as output:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            pass_fds=pass_fds,
            start_new_session=True,
            user=account.user,
            group=account.group,
            extra_groups=account.groups,
        )


def _cookie() -> bytes:
    """Make an Xauthority file: one entry for any address and display (family 65535, FamilyWild, see Xauth.h)."""
    fields = (b"", b"", b"MIT-MAGIC-COOKIE-1", secrets.token_bytes(16))
    return struct.pack(">H", 65535) + b"".join(struct.pack(">H", len(field)) + field for field in fields)


def _read_line(fd: int, server: subprocess.Popen[bytes], log: Path) -> str:
    line, deadline = b"", time.monotonic() + START_DEADLINE
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(fd, 64) if ready else b""
        if not data:
            raise RuntimeError(f"{server.args!r} did not start: {log.read_text('utf-8', 'replace')[-2000:]}")
        line += data
    return line.decode().strip()


def _wait_for_socket(runtime: Path, server: subprocess.Popen[bytes], log: Path) -> str:
    pause, deadline = 0.005, time.monotonic() + START_DEADLINE
    while server.poll() is None and time.monotonic() < deadline:
        for path in runtime.glob("wayland-*"):
            if path.is_socket() and shutil.which("wl-paste") and _answers(path):
                return path.name
        time.sleep(pause)
        pause = min(pause * 2, 0.5)
    raise RuntimeError(f"{server.args!r} did not start: {log.read_text('utf-8', 'replace')[-2000:]}")


def _answers(path: Path) -> bool:
    environ = {**os.environ, "WAYLAND_DISPLAY": path.name, "XDG_RUNTIME_DIR": str(path.parent)}
    done = subprocess.run(["wl-paste", "-l"], capture_output=True, env=environ, timeout=START_DEADLINE, check=False)
    return b"onnect" not in done.stderr
