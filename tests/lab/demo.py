"""`make demo`: nssh at work on one machine; a private sshd on loopback stands in for the remote.

`python -m tests.lab.demo` opens a session for you; `--check` plays it through by itself on a pseudo-terminal and says
how long each step took. Own host key, own state, own HOME on either side; nothing of yours is touched, and at the end
everything is gone.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.lab import system
from tests.lab.laptop import NSSH, Laptop
from tests.lab.sshd import Sshd
from tests.lab.terminal import Terminal
from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = 2_000_000
"""Bytes."""

_WELCOME = """\
printf '%s\\n' '' 'This shell runs on the "remote" (a private sshd on loopback). Try:' '' \\
  '  xdg-open https://example.com/                  its URL goes to {browser}' \\
  '  date | xclip -selection clipboard -i           puts it on {clipboard}' \\
  '  xclip -selection clipboard -o                  and brings it back' \\
  '  exit                                           ends the demo; everything is gone then' ''
"""


def _remote_shell(remote: Sshd, welcome: str) -> None:
    """Give the remote a prompt of its own, and the PATH that `nssh infect` asks for."""
    lines = f"PATH=$HOME/.local/bin:$PATH; export PATH\nPS1='remote$ '\ncd\n{welcome}"
    for name in (".profile", ".bash_profile", ".zshrc"):
        remote.write_home(name, lines)
    remote.write_home(".bashrc", "case :$PATH: in *:$HOME/.local/bin:*) ;; *) PATH=$HOME/.local/bin:$PATH ;; esac\n")
    remote.write_home(".config/fish/config.fish", "set -x PATH $HOME/.local/bin $PATH\ncd\n")
    remote.write_home(".hushlogin", "")


@contextmanager
def _stage(config: str = "", welcome: str = "") -> Iterator[tuple[Sshd, Laptop]]:
    with Sshd() as remote:
        _remote_shell(remote, welcome)
        yield remote, Laptop(remote.client, config)


def _own_browser(laptop: Laptop) -> str:
    """Let the laptop use the real browser, with the user's real HOME; return what the welcome calls it."""
    real = {key: os.environ[key] for key in os.environ if key == "HOME" or key.startswith("XDG_")}
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform == "darwin"):
        return f"{laptop.opened_file} (there is no browser here)"
    words = " ".join(f"{key}={shlex.quote(value)}" for key, value in real.items())
    script = laptop.client.home / "browser"
    script.write_text(f'#!/bin/sh\nexec env {words} {opener} "$1"\n')
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        if name in os.environ:
            laptop.env[name] = os.environ[name]
    laptop.env["XAUTHORITY"] = os.environ.get("XAUTHORITY", os.path.expanduser("~/.Xauthority"))
    return "your browser"


def interactive() -> int:
    """Open a session on this terminal."""
    with Sshd() as remote:
        laptop = Laptop(remote.client)
        browser = _own_browser(laptop)
        clipboard = "your clipboard" if browser == "your browser" else "a clipboard in memory"
        _remote_shell(remote, _WELCOME.format(browser=browser, clipboard=clipboard))
        print("demo: a private sshd runs on 127.0.0.1, port", remote.port)
        done = subprocess.run([*NSSH, "infect", "--force", "devbox"], env=laptop.env, check=False)
        if done.returncode:
            return done.returncode
        print("demo: nssh devbox")
        code = subprocess.run([*NSSH, "devbox"], env=laptop.env, check=False).returncode
        opened = laptop.opened()
        if opened:
            print("demo: opened", ", ".join(opened))
        print("demo: over; nothing is left of it")
        return code


class _Play:
    """The steps of `--check`, each with its time."""

    def __init__(self, laptop: Laptop, window: Terminal) -> None:
        self._laptop = laptop
        self._window = window

    def type(self, command: str) -> None:
        """Type a command into the session and wait for its end."""
        mark = os.urandom(4).hex()
        # The mark is typed in two halves, so that the echo of the typing is not taken for the answer.
        self._window.send(f"{command}; echo {mark[:4]}''{mark[4:]}=$?\r".encode())
        self._window.expect(f"{mark}=0".encode())

    def opens(self, url: str, name: str) -> None:
        """Open a URL from the remote, and wait until it is open on the laptop."""
        started = time.monotonic()
        self.type(f"xdg-open '{url}'")
        self._laptop.wait_opened(url)
        self.step(name, started)

    def step(self, name: str, started: float) -> None:
        """Say that a step has held."""
        print(f"  ok  {name:<44}{time.monotonic() - started:6.2f} s", flush=True)


def check() -> int:
    """Play the demo through; return 0 only if everything held."""
    began = time.monotonic()
    with _stage() as (remote, laptop):
        print(f"demo: a private sshd runs on 127.0.0.1, port {remote.port}")
        started = time.monotonic()
        laptop.infect("--force")
        print(f"  ok  {'installed on the remote':<44}{time.monotonic() - started:6.2f} s", flush=True)
        urls = ["https://example.com/?first=1", "https://example.com/?second=2"]
        _check_ssh(remote, laptop, *urls)
        if system.find("mosh-client") and system.find("mosh-server"):
            urls.append("https://example.com/?third=3")
            _check_mosh(laptop, urls[-1])
        started = time.monotonic()
        laptop.wait_gone()
        wait_until(lambda: not laptop.sessions(), "no record is left")
        if sorted(laptop.opened()) != urls:
            raise AssertionError(f"each URL is opened once, but: {laptop.opened()}")
        print(f"  ok  {'each URL once; nothing is left behind':<44}{time.monotonic() - started:6.2f} s")
    print(f"demo: everything held, in {time.monotonic() - began:.1f} s")
    return 0


def _check_ssh(remote: Sshd, laptop: Laptop, first: str, second: str) -> None:
    started = time.monotonic()
    with Terminal([*NSSH, "--ssh", "devbox"], laptop.env) as window:
        play = _Play(laptop, window)
        window.expect(b"remote$ ")
        play.step("a prompt, by ssh", started)
        laptop.wait_up()
        play.step("the bridge is up", started)
        play.opens(first, "a URL is opened")
        started = time.monotonic()
        play.type("printf 'text out' | xclip -selection clipboard -i")
        play.step("text out", started)
        started = time.monotonic()
        play.type("test \"$(xclip -selection clipboard -o)\" = 'text out'")
        play.step("text in", started)
        (remote.home / "image").write_bytes(os.urandom(IMAGE))
        play.type("xclip -selection clipboard -t image/png -i image")
        started = time.monotonic()
        play.type("xclip -selection clipboard -t image/png -o | cmp - image")
        play.step("a 2 MB image in, byte for byte", started)
        (bridge,) = [record.bridge for record in laptop.sessions()]
        os.kill(bridge, signal.SIGKILL)
        play.opens(second, "the bridge was killed, and one more URL")
        started = time.monotonic()
        window.send(b"exit 5\r")
        code = window.wait()
        if code != 5:
            raise AssertionError(f"the session ended with {code} instead of its own status 5")
        play.step("the session's own exit status", started)


def _check_mosh(laptop: Laptop, url: str) -> None:
    started = time.monotonic()
    with Terminal([*NSSH, "--mosh", "devbox"], laptop.env) as window:
        play = _Play(laptop, window)
        window.expect(b"remote$ ")
        play.step("a prompt, by mosh", started)
        play.opens(url, "a URL is opened")
        window.send(b"exit\r")
        window.wait()


def _sshd_there() -> bool:
    if system.find("sshd"):
        return True
    systemd = os.path.exists("/run/systemd/system")
    reason = "to install it would start a server" if systemd else system.install(["openssh-server"])
    if system.find("sshd"):
        return True
    print(f"demo: there is no sshd here ({reason}); install openssh-server and try again", file=sys.stderr)
    return False


def main() -> int:
    """Run the demo."""
    if not _sshd_there():
        return 1
    if reason := system.no_ptys():
        print(f"demo: {reason}", file=sys.stderr)
        return 1
    if "--check" not in sys.argv:
        return interactive()
    try:
        return check()
    except (AssertionError, TimeoutError, OSError) as error:
        print(f"demo: failed: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
