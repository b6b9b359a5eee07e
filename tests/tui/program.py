"""The program in the window: asks one question and prints the answer. `python -m tests.tui.program JSON`.

The JSON object says what: `ask` names the function of `nssh.tui`, `arguments` are its. There may be `before` (text that
is on the screen already), `waits` (for a line first), `ignore` (signals by name that it ignores), `foreground` (it runs
below the launcher's signal handling), `reads` (how many bytes to read from the terminal afterwards, as ssh would),
`left` (read what is there, afterwards), `patience` (for so long a further key is waited for) and `keeps` (the system
takes no keys back).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import termios
import tty
from typing import TYPE_CHECKING, Any

from nssh import tui
from nssh.base import terminal
from nssh.base.errors import NsshError
from nssh.tui import _question, _unread_keys

if TYPE_CHECKING:
    from collections.abc import Callable

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH, signal.SIGCHLD)


def ask(wish: dict[str, Any]) -> object:
    if wish["ask"] == "choose":
        lines, options, default = wish["arguments"]
        return tui.choose(lines, [tui.Option(*option) for option in options], default)
    if wish["ask"] == "select":
        title, rows = wish["arguments"]
        return tui.select(title, [tui.Row(**row) for row in rows])
    raise AssertionError(wish["ask"])


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def refuse(keys: bytes) -> bool:
    terminal.forget_keys()
    return not keys


def main(wish: dict[str, Any]) -> int:
    if patience := wish.get("patience"):
        _question._AFTER_KEY = _question._IN_WORD = patience
    if wish.get("keeps"):
        _unread_keys.are_taken_back = lambda: False
        _unread_keys.give_back = refuse
    for name in wish.get("ignore", []):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if wish.get("waits"):
        os.read(0, 100)
    say(wish.get("before", ""))
    if wish.get("foreground"):
        from nssh.launch.foreground import Foreground, InterruptedBySignal

        foreground = Foreground(lambda _pid, _status: None, reads=True)
        try:
            return run(lambda: foreground.interruptibly(lambda: ask(wish)), wish)
        except InterruptedBySignal as interrupt:
            # Its wake-up pipe is still its own: a signal is still heard of.
            os.kill(os.getpid(), signal.SIGWINCH)
            foreground._take_signals()
            say(f"heard {signal.SIGWINCH in foreground._signals}\n")
            return interrupt.exit_code
    return run(lambda: ask(wish), wish)


def run(work: Callable[[], object], wish: dict[str, Any]) -> int:
    before = [signal.getsignal(number) for number in HANDLED]
    try:
        say(f"answer: {json.dumps(work())}\n")
    except NsshError as error:
        with contextlib.suppress(OSError):  # the terminal may be gone
            os.write(2, f"nssh: {error}\n".encode())
        return error.exit_code
    assert [signal.getsignal(number) for number in HANDLED] == before
    count = wish.get("reads", 0)
    if count or wish.get("left"):
        modes = termios.tcgetattr(0)
        tty.setraw(0, termios.TCSANOW)
        data = b""
        while len(data) < count or select.select([0], [], [], 0)[0]:
            data += os.read(0, 100)
        say(f"read: {data!r}\r\n")
        termios.tcsetattr(0, termios.TCSANOW, modes)
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
