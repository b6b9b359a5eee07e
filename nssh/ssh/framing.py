"""Scripts on the remote whose answer can't be mistaken for a banner or the noise of a login file.

The command given to the remote's login shell is always `BOOTSTRAP`, words that sh, bash, zsh, fish and tcsh read alike.
It reads a POSIX sh script from stdin and evaluates it; data follows the script on stdin and is never spliced into code.
The script begins with `prelude.sh`, which reads a random marker and offers `say KEY VALUE` and `finish STATUS`; what is
said stands between two marker lines. It runs under umask 077; what it starts for the user wants `umask "$nssh_umask"`.
Standard library only: this is on the way to ssh.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from nssh.base.errors import RemoteError

# dd reads byte by byte and so never takes what follows the script; `read` in sh does the same on a pipe.
BOOTSTRAP = "exec sh -c 'IFS= read -r n && s=$(dd bs=1 count=$n 2>/dev/null) && eval \"$s\"'"

_LIMIT = 1 << 20


class Script(NamedTuple):
    """A script made ready: what to send on stdin, and the marker that frames its answer."""

    stdin: bytes
    marker: bytes


class Answer(NamedTuple):
    """What a framed script said: the status it finished with, and its `say` lines by key (the last one wins)."""

    status: int
    fields: dict[str, str]
    lines: list[str]


def source(module: str, name: str) -> str:
    """Return the text of the script `name` that lies beside a module, whose `__file__` is given.

    Lines that are comments are left out: the remote reads each byte with a system call.

    Raises:
        OSError: A file of the installation can't be read.
    """
    with open(os.path.join(os.path.dirname(module), name), encoding="utf-8") as file:
        return "".join(line for line in file if not line.lstrip().startswith("#"))


def pack(script: str, *, lines: tuple[str, ...] = (), data: bytes = b"") -> Script:
    """Frame a POSIX sh script; `lines` are read by it with `IFS= read -r name`, `data` is the rest of its stdin.

    Raises:
        ValueError: One of `lines` holds a newline or NUL and would be read as something else.
    """
    if any(set(line) & {"\n", "\0"} for line in lines):
        raise ValueError("a line of input for a remote script holds a newline or NUL")
    marker = b"nssh-" + os.urandom(12).hex().encode()
    body = (source(__file__, "prelude.sh") + script).encode()
    head = b"%d\n%s%s\n" % (len(body), body, marker)
    return Script(head + "".join(f"{line}\n" for line in lines).encode() + data, marker)


class Reader:
    """Finds the answer in a remote's output as it arrives; what stands before and after the frame is noise.

    Lines end with a newline alone, or with CR and newline as a terminal on the way makes them.
    """

    def __init__(self, marker: bytes) -> None:
        self._begin = b"\n" + marker + b" begin\n"
        # The newline in front of it is `finish`'s own: what was said before may lack its last one.
        self._end = b"\n" + marker + b" end "
        self._seen = bytearray(b"\n")
        self._inside = False
        self._searched = 0
        self._held_back = b""
        self.noise = b""
        """Output before the frame, the last 4096 bytes: worth showing if no frame ever comes."""

    def feed(self, data: bytes) -> Answer | None:
        """Take output; return the answer once it is complete.

        Raises:
            RemoteError: More than 1 MiB arrived without the answer's end, or the end has no status.
        """
        data = self._held_back + data
        # Half of a CR LF: the other half comes next.
        self._held_back = b"\r" if data.endswith(b"\r") else b""
        self._seen += data[: len(data) - len(self._held_back)].replace(b"\r\n", b"\n")
        if not self._inside and not self._enter():
            return None
        stop = self._seen.find(self._end, self._searched)
        newline = self._seen.find(b"\n", stop + len(self._end)) if stop >= 0 else -1
        if newline < 0:
            # What was looked through is not looked through again, whatever the size of the pieces that arrive.
            self._searched = stop if stop >= 0 else max(0, len(self._seen) - len(self._end))
            if len(self._seen) > _LIMIT:
                raise RemoteError(
                    "the remote answered with more than 1 MiB; is something wrong with its shell start-up files?"
                )
            return None
        return _answer(bytes(self._seen[1:stop]), bytes(self._seen[stop + len(self._end) : newline]))

    @property
    def lines(self) -> list[str]:
        """The whole lines of an answer that is still arriving; an empty one at their end may belong to its end mark."""
        whole = self._seen.rfind(b"\n") if self._inside else 0
        return bytes(self._seen[1:whole]).decode("utf-8", "replace").split("\n") if whole else []

    def _enter(self) -> bool:
        """Look for the beginning of the frame, and forget what stands before it."""
        start = self._seen.find(self._begin)
        if start < 0:
            self.noise = bytes(self._seen[-4096:])
            del self._seen[: -4096 - len(self._begin)]
            return False
        self.noise = bytes(self._seen[:start][-4096:])
        # The newline that ends it stays: it may be the one that the end marker begins with.
        del self._seen[: start + len(self._begin) - 1]
        self._inside = True
        return True


def _answer(text: bytes, status: bytes) -> Answer:
    if not status.isdigit() or len(status) > 3:
        raise RemoteError("the remote's answer to our script ends without a status")
    lines = text.decode("utf-8", "replace").split("\n")
    if lines[-1] == "":
        lines.pop()
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
