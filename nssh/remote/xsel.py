"""Stand in for xsel, for the clipboard selection."""

from __future__ import annotations

import os

from nssh.remote.failure import UseRealTool
from nssh.remote.options import Options
from nssh.remote.shim import TEXT, Unavailable, complain, write_payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.remote.payload import Payload
    from nssh.remote.shim import Shim

# The options of xsel 1.2.1; letters may be joined, words can't be abbreviated.
_OPTIONS = {
    "-h": "help", "-v": "verbose", "-a": "append", "-f": "follow", "-z": "zeroflush", "-i": "input", "-o": "output",
    "-c": "clear", "-d": "delete", "-p": "primary", "-s": "secondary", "-b": "clipboard", "-k": "keep",
    "-x": "exchange", "-n": "nodetach", "-m": "name", "-l": "logfile", "-t": "selectionTimeout",
}  # fmt: skip
_VALUED = ("logfile", "selectionTimeout", "display", "name")
_NAMES = frozenset({*_OPTIONS.values(), "version", "display", "trim"})

_VERSION = "xsel version 1.2.0; this one is nssh's: --clipboard is the clipboard of your laptop\n"
_USAGE = """\
Usage: xsel [options]
nssh's stand-in: --clipboard is the clipboard of the machine you sit at.

  -b, --clipboard      anything else needs a display and the real xsel
  -i, --input          put standard input there
  -o, --output         print it; without one of these: what standard input and output call for
  -a, --append         add standard input to it
  -c, --clear, -d, --delete
                       leave nothing there
  --trim               without the last newline
  -f, -z, -n, -m, -t, -l, -v have no effect here
"""


class _BadOption(Exception):  # noqa: N818 (the real xsel prints its usage and exits with 0)
    """An option is unknown, or lacks its value."""


def run(shim: Shim, arguments: list[str]) -> int:
    """Copy or paste as xsel does. Raises Failure; UseRealTool for other selections and displays."""
    try:
        options = _parse(arguments)
    except _BadOption:
        raise UseRealTool("", 0, _USAGE) from None
    told = (_VERSION if "version" in options else "") + (_USAGE if "help" in options else "")
    if told:
        raise UseRealTool("", 0, told)
    # --clipboard counts wherever it stands; keep and exchange are for the other selections.
    if "clipboard" not in options or "display" in options or "keep" in options or "exchange" in options:
        display = options.get("display") if "display" in options else "(null)"
        # xsel prints errno, which is that of isatty if no connection was tried.
        tried = options.get("display") or shim.environ.get("DISPLAY")
        reason = "Connection refused" if tried and ":" in tried else "Inappropriate ioctl for device"
        raise UseRealTool("xsel: Can't open display: %s\n: %s\n" % (display, reason))
    shim.start(options)
    output, reads = _mode(options)
    appends = "append" in options
    data = shim.input()
    old = _paste(shim) if output or appends else None
    trims = "trim" in options
    if output and old is not None:
        if trims:
            old.drop_last_newline()
        write_payload(old)
        _mark_missing_newline(old, told=not appends)
    if "delete" in options or "clear" in options:
        shim.clear()
    elif reads:
        if appends and old is not None:
            for piece in old.pieces():
                data.write(piece)
        data.read_from(0)
        if trims:
            data.drop_last_newline()
        if data.size:
            shim.copy(data, TEXT)
        else:
            shim.clear()
    return 0


def _parse(arguments: list[str]) -> Options:
    options = Options()
    words: list[str] = []
    for word in arguments:
        joined = len(word) > 2 and word[0] == "-" and word[1] != "-"
        words += ["-" + letter for letter in word[1:]] if joined else [word]
    rest = iter(words)
    for word in rest:
        name = _OPTIONS.get(word, word[2:] if word.startswith("--") else "")
        if name not in _NAMES:
            raise _BadOption
        value = next(rest, None) if name in _VALUED else ""
        if value is None:
            raise _BadOption
        options.add(name, value)
    return options


def _mode(options: Options) -> tuple[bool, bool]:
    """Return whether to print and whether to read, by the options, or else by which of our ends are terminals."""
    prints, reads = not os.isatty(1), not os.isatty(0)
    if not prints and not reads:
        prints = True  # both are terminals
    told_to_read = any(name in options for name in ("input", "append", "follow", "zeroflush"))
    told_to_print = "output" in options
    if told_to_read or any(name in options for name in ("clear", "delete")):
        prints = False
    if told_to_print:
        reads = False
    return prints or told_to_print, reads or told_to_read


def _paste(shim: Shim) -> Payload | None:
    try:
        return shim.paste(TEXT)[1]
    except Unavailable:
        return None


def _mark_missing_newline(data: Payload, *, told: bool) -> None:
    if told and data.size and os.isatty(1) and not _ends_with_newline(data):
        complain("\n\\ No newline at end of selection\n")


def _ends_with_newline(data: Payload) -> bool:
    last = b""
    for piece in data.pieces():
        last = piece[-1:]
    return last == b"\n"
