"""Opens a URL from a remote in the user's browser: checks the URL, and tries one launcher after the other."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from nssh.base.errors import ToolError
from nssh.config.settings import split_command
from nssh.local.tool_runner import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LONGEST_URL = 8192

PATIENCE = 1.5
"""Seconds that `open_url` waits for a launcher. After that the URL counts as opened."""

FAILURE_WINDOW = 10.0
"""Seconds. After a launcher that fails sooner the next one is tried; a later failure is a browser that was closed."""

_MOST_LAUNCHERS = 16
_launchers = threading.BoundedSemaphore(_MOST_LAUNCHERS)

# ASCII characters that a URL must not contain, and that launchers (shell scripts) are known to mishandle.
_ENCODED = frozenset('"<>^`{|}')
_KEPT = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in _ENCODED)
_HOST_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_")
_IPV6_CHARS = frozenset("abcdef0123456789.:")
# Characters that mean something to a shell, if the word around a %s is a script.
_SCRIPT_CHARS = frozenset(" \t\n;&|<>$`\"'\\*?{}")


class UrlRefusedError(ToolError):
    """A URL that nssh never opens. The text does not contain the URL."""


def check_url(url: str) -> str:
    """Return a URL in the form in which a launcher may get it: printable ASCII, `http://` or `https://`.

    Characters outside ASCII are percent-encoded as UTF-8, as browsers do; in the host they become IDNA, so that a
    look-alike shows as `xn--…`.

    Raises:
        UrlRefusedError: The scheme is another one; there are spaces, control characters or backslashes (which parsers
            read differently), or a user name or password (which make one host look like another); the host is missing
            or malformed; or there are more than 8192 characters.
    """
    if len(url) > LONGEST_URL:
        raise UrlRefusedError(f"a URL of more than {LONGEST_URL} characters is not opened")
    if not url.isprintable() or " " in url or "\\" in url:  # of all spaces, only this one counts as printable
        raise UrlRefusedError("a URL with spaces, control characters or backslashes is not opened")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UrlRefusedError("what was to be opened is no valid URL") from None
    if parts.scheme not in {"http", "https"}:
        raise UrlRefusedError("only http and https URLs are opened")
    if not host or "@" in parts.netloc or "%" in parts.netloc:
        raise UrlRefusedError("a URL without a host, or with a user name in it, is not opened")
    try:
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise UrlRefusedError("a URL whose host is no valid name is not opened") from None
    if not (_IPV6_CHARS if ":" in name else _HOST_CHARS).issuperset(name):
        raise UrlRefusedError("a URL whose host is no valid name is not opened")
    authority = (f"[{name}]" if ":" in name else name) + ("" if port is None else f":{port}")
    # Everything after the authority stays as it came, an empty query's "?" included.
    rest = url[url.index("//") + 2 + len(parts.netloc) :]
    checked = f"{parts.scheme}://{authority}{quote(rest, safe=_KEPT)}"
    if len(checked) > LONGEST_URL:
        raise UrlRefusedError(f"a URL of more than {LONGEST_URL} characters is not opened")
    return checked


def launchers(
    command: Sequence[str] | None, environ: Mapping[str, str], platform: str = sys.platform
) -> list[tuple[str, ...]]:
    """Return the commands that open a URL, in the order to try: the configured one, those of $BROWSER, the system's.

    In a command's arguments `%s`, also as a part of a word (`--url=%s`), stands for the URL; without one the URL is
    appended. Left out are missing programs, nssh's own shims, and commands with a script around `%s`.
    """
    wanted = [tuple(command)] if command else []
    for line in environ.get("BROWSER", "").split(os.pathsep):
        try:
            wanted += [split_command(line, environ.get("HOME", ""))]
        except ValueError:
            continue  # empty, or an open quote; other programs skip such a part of $BROWSER, too
    wanted += [(name,) for name in (["open"] if platform == "darwin" else []) + ["xdg-open", "sensible-browser"]]
    found = ((find_tool(words[0], environ), words[1:]) for words in wanted)
    return [(path, *words) for path, words in found if path and not any(map(_is_script, words))]


def _is_script(word: str) -> bool:
    """Whether a word would put the URL into a text that a shell may run."""
    return "%s" in word and bool(_SCRIPT_CHARS & set(word))


def open_url(
    url: str,
    *,
    command: Sequence[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    patience: float = PATIENCE,
    failure_window: float = FAILURE_WINDOW,
    on_late_failure: Callable[[ToolError], None] | None = None,
) -> None:
    """Open a URL in the user's browser. Blocks for `patience` seconds at most; for any thread.

    A thread tries the launchers one after the other. If it has no result in time (a browser stays in the foreground, an
    xdg-open hangs), the URL counts as opened. The launcher is then left running, and reaped when it ends, or by init if
    it outlives nssh. While it runs, other users of the laptop can see the URL in the process list: launchers take it as
    an argument only.

    Args:
        url: A URL from the remote; it is checked here.
        command: `[browser] command` of the configuration.
        environ: Where BROWSER and PATH are looked up. Launchers run with it, without BROWSER.
        patience: Seconds to wait for a result.
        failure_window: See `FAILURE_WINDOW`.
        on_late_failure: Called on the thread if all launchers failed after this call had returned.

    Raises:
        UrlRefusedError: The URL is refused, and nothing was started.
        ToolError: No launcher opened it, or too many launchers of earlier calls still run.
    """
    checked = check_url(url)
    commands = launchers(command, environ)
    if not commands:
        raise ToolError("no browser was found; set [browser] command in config.toml, or $BROWSER")
    if not _launchers.acquire(blocking=False):
        raise ToolError(f"{_MOST_LAUNCHERS} browser launchers are still running; the URL is not opened")
    attempt = _Attempt(checked, commands, environ, failure_window, on_late_failure)
    threading.Thread(target=attempt.run, name="open-url", daemon=True).start()
    attempt.wait(patience)


class _Attempt:
    """Tries the launchers with one URL on a thread, and tells the result to the caller or to the late callback."""

    def __init__(
        self,
        url: str,
        commands: list[tuple[str, ...]],
        environ: Mapping[str, str],
        window: float,
        on_late_failure: Callable[[ToolError], None] | None,
    ) -> None:
        self._url = url
        self._commands = commands
        # xdg-open would try $BROWSER again, which could be one of nssh's own shims.
        self._environ = {name: value for name, value in environ.items() if name != "BROWSER"}
        self._window = window
        self._on_late_failure = on_late_failure
        self._done = threading.Condition()
        self._decided = False
        self._gone = False
        self._error: ToolError | None = None

    def wait(self, seconds: float) -> None:
        with self._done:
            self._done.wait_for(lambda: self._decided, seconds)
            self._gone = True
            if self._error is not None:
                raise self._error

    def run(self) -> None:
        try:
            reasons = []
            for command in self._commands:
                reason = self._try(command)
                if reason is None:
                    return
                reasons.append(reason)
            self._decide(ToolError(f"no browser took the URL: {'; '.join(reasons)}"))
        finally:
            _launchers.release()

    def _try(self, command: tuple[str, ...]) -> str | None:
        """Run a launcher to its end; return why it failed, or None. If it runs long, report success before its end."""
        name = command[0].rpartition("/")[2]
        has_place = any("%s" in word for word in command[1:])
        words = [command[0], *(word.replace("%s", self._url) for word in command[1:])]
        try:
            process = subprocess.Popen(
                words if has_place else [*words, self._url],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._environ,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"{name} can't be run ({error.strerror if isinstance(error, OSError) else 'bad argument'})"
        try:
            status = process.wait(self._window)
        except subprocess.TimeoutExpired:
            self._decide(None)
            process.wait()
            return None
        if status == 0:
            self._decide(None)
            return None
        return f"{name} failed (status {status})" if status > 0 else f"{name} failed (signal {-status})"

    def _decide(self, error: ToolError | None) -> None:
        with self._done:
            self._decided = True
            self._error = error
            late = self._gone
            self._done.notify_all()
        if error is not None and late and self._on_late_failure is not None:
            self._on_late_failure(error)
