"""A real browser on the laptop: headless Chromium, driven through pipes (the DevTools protocol)."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.lab import system
from tests.lab.tools import DEADLINE, own

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPTIONS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server",
)  # fmt: skip


class Chromium:
    """A browser with a fresh profile; a context manager. One page is open, `visit` takes it somewhere."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """Start it; the test is skipped where there is none."""
        program = system.require("chromium", "bash")[0]
        self._directory = Path(tempfile.mkdtemp(prefix="nssh-", dir="/tmp"))
        own(self._directory)
        orders, self._orders = _high_pipe()
        self._news, news = _high_pipe()
        options = [*_OPTIONS, f"--user-data-dir={self._directory}/profile", "--remote-debugging-pipe"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        # Its pipes have to be descriptors 3 and 4.
        script = f'exec "$@" 3<&{orders} 4>&{news} {orders}<&- {news}>&-'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", program, *options, "about:blank"],
            env={**env, "HOME": os.fspath(self._directory)},
            pass_fds=(orders, news),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(orders)
        os.close(news)
        self._rest = b""
        self._numbers = itertools.count(1)
        self._page = ""

    def __enter__(self) -> Self:
        try:
            target = self._order("Target.createTarget", url="about:blank")["targetId"]
            self._page = self._order("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def visit(self, url: str) -> None:
        """Go to a URL; returns once the browser has decided to, not when it is there."""
        self._order("Page.navigate", url=url)

    def text(self) -> str:
        """Return what the page shows."""
        result = self._order("Runtime.evaluate", expression="document.body ? document.body.innerText : ''")
        return str(result.get("result", {}).get("value", ""))

    def wait_text(self, wanted: str) -> str:
        """Wait until the page shows a text, and return all of it."""
        deadline = time.monotonic() + DEADLINE
        while wanted not in (text := self.text()):
            assert time.monotonic() < deadline, f"the page shows {text!r} and not {wanted!r}"
            time.sleep(0.02)
        return text

    def _order(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        order = {"id": number, "method": method, "params": parameters}
        if self._page:
            order["sessionId"] = self._page
        os.write(self._orders, json.dumps(order).encode() + b"\0")
        while True:
            news = self._read()
            if news.get("id") == number:
                if "error" in news:
                    # A page on its way from one address to the next has no text.
                    assert method == "Runtime.evaluate", news
                    return {}
                return dict(news["result"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._news], [], [], 3 * DEADLINE)[0], "the browser does not answer"
            data = os.read(self._news, 1 << 16)
            assert data, "the browser has ended"
            self._rest += data
        news, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(news))

    def close(self) -> None:
        """End it with all its processes, and remove its profile."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(DEADLINE)
        os.close(self._orders)
        os.close(self._news)
        shutil.rmtree(self._directory, ignore_errors=True)


def _high_pipe() -> tuple[int, int]:
    """Return a pipe whose ends are in nobody's way below."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return high[0], high[1]
