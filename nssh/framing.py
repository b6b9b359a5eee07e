"""Scripts on the remote whose answer can't be mistaken for a banner or the noise of a login file.

The command given to the remote's login shell is always `BOOTSTRAP`, words that sh, bash, zsh, fish and tcsh read alike.
It reads a POSIX sh script from stdin and evaluates it; data follows the script on stdin and is never spliced into code.
The script begins with a prelude that reads a random marker and offers `say KEY VALUE` and `finish STATUS`; what it says
stands between two marker lines. Standard library only: this is on the way to ssh.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from nssh.errors import RemoteError

# dd reads byte by byte and so never takes what follows the script; `read` in sh does the same on a pipe.
BOOTSTRAP = "exec sh -c 'IFS= read -r n && s=$(dd bs=1 count=$n 2>/dev/null) && eval \"$s\"'"

_PRELUDE = """\
umask 077
IFS= read -r nssh_mark || exit 97
unset ENV CDPATH
say() { printf '%s %s\\n' "$1" "$2"; }
finish() { printf '%s end %s\\n' "$nssh_mark" "$1"; exit "$1"; }
printf '\\n%s begin\\n' "$nssh_mark"
"""


class Script(NamedTuple):
    """A script made ready: what to send on stdin, and the marker that frames its answer."""

    stdin: bytes
    marker: bytes


class Answer(NamedTuple):
    """What a framed script said: the status it finished with, and its `say` lines by key (the last one wins)."""

    status: int
    fields: dict[str, str]
    lines: list[str]


def pack(script: str, *, lines: tuple[str, ...] = (), data: bytes = b"") -> Script:
    """Frame a POSIX sh script; `lines` are read by it with `IFS= read -r name`, `data` is the rest of its stdin.

    Raises:
        ValueError: One of `lines` holds a newline or NUL and would be read as something else.
    """
    if any(set(line) & {"\n", "\0"} for line in lines):
        raise ValueError("a line of input for a remote script holds a newline or NUL")
    marker = b"nssh-" + os.urandom(12).hex().encode()
    body = (_PRELUDE + script).encode()
    head = b"%d\n%s%s\n" % (len(body), body, marker)
    return Script(head + "".join(f"{line}\n" for line in lines).encode() + data, marker)


class Reader:
    """Finds the answer in a remote's output as it arrives; what stands before and after the frame is noise."""

    def __init__(self, marker: bytes) -> None:
        self._begin = b"\n" + marker + b" begin\n"
        self._end = b"\n" + marker + b" end "
        self._seen = b"\n"
        self.noise = b""
        """Output before the frame, the last 4096 bytes: worth showing if no frame ever comes."""

    def feed(self, data: bytes) -> Answer | None:
        """Take output; return the answer once it is complete.

        Raises:
            RemoteError: More than 1 MiB arrived without the answer's end.
        """
        self._seen += data.replace(b"\r\n", b"\n")
        start = self._seen.find(self._begin)
        if start < 0:
            self.noise = self._seen[-4096:]
            self._seen = self._seen[-4096 - len(self._begin) :]
            return None
        stop = self._seen.find(self._end, start)
        if stop < 0 or b"\n" not in self._seen[stop + len(self._end) :]:
            if len(self._seen) > 1 << 20:
                raise RemoteError("the remote answered with more than 1 MiB; is something wrong with its shell start-up files?")
            return None
        text = self._seen[start + len(self._begin) : stop + 1].decode("utf-8", "replace")
        status = self._seen[stop + len(self._end) :].split(b"\n", 1)[0]
        lines = text.splitlines()
        return Answer(int(status), dict(line.partition(" ")[::2] for line in lines), lines)


def unpack(script: Script, output: bytes) -> Answer:
    """Find the answer to `script` in a whole output.

    Raises:
        RemoteError: There is none: the shell did not run the script, or died on the way.
    """
    reader = Reader(script.marker)
    answer = reader.feed(output)
    if answer is None:
        hint = reader.noise.strip().splitlines()[-1:] or [b"no output"]
        raise RemoteError(f"the remote's shell did not run our script ({hint[0][:200].decode('utf-8', 'replace')!s})")
    return answer
