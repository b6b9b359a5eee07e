"""The programs that the tests need, and the Debian packages they come in: `python -m tests.lab.system` installs them.

Quick (no import beyond `shutil`) and silent about nothing: one line says what was done or what is missing. With CI=true
a missing program is an error; elsewhere the tests that need it are skipped and say so.
"""

from __future__ import annotations

import os
import shutil
import sys

PACKAGES = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "mosh": "mosh",
    "mosh-server": "mosh",
    "mosh-client": "mosh",
    "xclip": "xclip",
    "xsel": "xsel",
    "wl-copy": "wl-clipboard",
    "wl-paste": "wl-clipboard",
    "Xvfb": "xvfb",
    "sway": "sway",
    "fish": "fish",
    "zsh": "zsh",
    "tcsh": "tcsh",
    "dash": "dash",
    "busybox": "busybox",
    "tmux": "tmux",
    "screen": "screen",
    "who": "coreutils",
    "ps": "procps",
    "ip": "iproute2",
    "chromium": "chromium",
    "notify-send": "libnotify-bin",
}
# An ordinary user's PATH on Debian lacks the directory of sshd.
_SYSTEM_DIRS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def find(program: str) -> str | None:
    """Return the path of a program, looked for where daemons are, too."""
    return shutil.which(program) or shutil.which(program, path=os.pathsep.join(_SYSTEM_DIRS))


def in_ci() -> bool:
    """Whether a missing program is an error instead of a skipped test."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def check_marked(program: str) -> None:
    """Fail a test of `make quick` that is about to start a real program: it lacks the mark that leaves it out there."""
    if os.environ.get("NSSH_TESTS") == "quick":
        import pytest

        pytest.fail(f"runs {program}: mark it `real`")


def require(*programs: str) -> list[str]:
    """Return the programs' paths; otherwise skip the test, naming the package, or fail it in CI."""
    import pytest

    check_marked(programs[0])
    missing = [program for program in programs if find(program) is None]
    if missing:
        packages = sorted({PACKAGES.get(program, program) for program in missing})
        reason = f"needs {', '.join(missing)}: apt-get install {' '.join(packages)}"
        if in_ci():
            pytest.fail(reason)
        pytest.skip(reason)
    return [path for path in map(find, programs) if path is not None]


def no_ptys() -> str:
    """Return why an sshd of this user can't give out terminals, or an empty string.

    sshd wants a terminal to belong to the group tty; without root it can't see to that itself, so /dev/pts must.
    """
    import grp

    if os.geteuid() == 0:
        return ""
    master, slave = os.openpty()
    group = os.fstat(slave).st_gid
    os.close(master)
    os.close(slave)
    try:
        wanted = grp.getgrnam("tty").gr_gid
    except KeyError:
        return ""
    if group == wanted:
        return ""
    return f"an sshd without root has no terminals here: as root, mount -o remount,gid={wanted},mode=620 /dev/pts"


def missing_packages() -> list[str]:
    return sorted({package for program, package in PACKAGES.items() if find(program) is None})


def install(packages: list[str]) -> str:
    """Install packages; return an empty string, or why it did not work."""
    import subprocess

    if shutil.which("apt-get") is None:
        return "this is no Debian or Ubuntu"
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if prefix and (
        shutil.which("sudo") is None or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    ):
        return "neither root nor passwordless sudo"
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    command = [*apt, "install", "--no-install-recommends", *packages]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:  # no package lists yet, or old ones
        subprocess.run([*apt, "update"], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode == 0:
        return ""
    reasons = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()
    return reasons[-1] if reasons else f"apt-get ended with status {done.returncode}"


def _say(line: str) -> None:
    sys.stdout.write(f"system: {line}\n")


def main() -> int:
    wanted = missing_packages()
    if not wanted:
        _say("every program that the tests need is here")
        return 0
    # Installing it would open a port of somebody's own machine to the network, now and after every boot.
    spared = {"openssh-server"} if os.access("/run/systemd/system", os.F_OK) and not in_ci() else set()
    chosen = [package for package in wanted if package not in spared]
    reason = install(chosen) if chosen else ""
    left = missing_packages()
    if not left:
        _say(f"installed {' '.join(wanted)}")
        return 0
    why = reason or "it would start a server on this machine: install it yourself if you want that"
    _say(f"missing {' '.join(left)} ({why})" + ("" if in_ci() else "; the tests that need them will be skipped"))
    return 1 if in_ci() else 0


if __name__ == "__main__":
    sys.exit(main())
