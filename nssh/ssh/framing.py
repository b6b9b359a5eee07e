"""Frame scripts for the remote, so that no banner and no output of a start-up file is mistaken for their answer.

The command for the remote's login shell is always `BOOTSTRAP`, which sh, bash, zsh, fish and tcsh read alike. It reads
a POSIX sh script from stdin and evaluates it. Data follows the script on stdin, and is never inserted into code. The
script begins with `prelude.sh`, which reads a random marker and defines `say KEY VALUE` and `finish STATUS`; the answer
stands between two lines with the marker. The script runs with umask 077; before it starts a program for the user it has
to call `umask "$nssh_umask"`. Standard library only: this is on the way to ssh.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from nssh.base.errors import RemoteError

# dd reads byte by byte, and so takes nothing of what follows the script; `read` in sh does the same on a pipe.
BOOTSTRAP = "exec sh -c 'IFS= read -r n && s=$(dd bs=1 count=$n 2>/dev/null) && eval \"$s\"'"

_LIMIT = 1 << 20


class Script(NamedTuple):
    """A framed script: what to send on stdin, and the marker around its answer."""

    stdin: bytes
    marker: bytes


class Answer(NamedTuple):
    """The answer of a framed script."""

    status: int
    """The status it finished with."""
    fields: dict[str, str]
    """What it said by key; of a repeated key the last."""
    lines: list[str]
    """All lines of the answer."""


def source(module: str, name: str) -> str:
    """Return the text of the script `name` that lies beside a module, whose `__file__` is given.

    Lines that are comments are left out: the remote reads each byte with a system call.

    Raises:
        OSError: A file of the installation can't be read.
    """
    with open(os.path.join(os.path.dirname(module), name), encoding="utf-8") as file:
        return "".join(line for line in file if not line.lstrip().startswith("#"))


def pack(script: str, *, lines: tuple[str, ...] = (), data: bytes = b"") -> Script:
    """Frame a POSIX sh script.

    Args:
        script: Calls `say` and `finish`.
        lines: Input that the script reads line by line, with `IFS= read -r name`.
        data: The rest of its input.

    Raises:
        ValueError: One of `lines` holds a newline or NUL.
    """
    if any(set(line) & {"\n", "\0"} for line in lines):
        raise ValueError("a line of input for a remote script holds a newline or NUL")
    marker = b"nssh-" + os.urandom(12).hex().encode()
    body = (source(__file__, "prelude.sh") + script).encode()
    head = b"%d\n%s%s\n" % (len(body), body, marker)
    return Script(head + "".join(f"{line}\n" for line in lines).encode() + data, marker)


class AnswerReader:
    """Finds a script's answer in a remote's output as it arrives; output before and after the frame is ignored.

    Lines end with a newline, or with CR and newline where a terminal is in between.
    """

    def __init__(self, marker: bytes) -> None:
        self._begin = b"\n" + marker + b" begin\n"
        # `finish` writes the newline before the marker: the output before it may not end with one.
        self._end = b"\n" + marker + b" end "
        self._seen = bytearray(b"\n")
        self._inside = False
        self._searched = 0
        self._held_back = b""
        self.noise = b""
        """The last 4096 bytes of output before the frame, to be shown if no frame comes."""

    def feed(self, data: bytes) -> Answer | None:
        """Take more output; return the answer when it is complete, None before.

        Raises:
            RemoteError: More than 1 MiB arrived without the answer's end, or the end has no status.
        """
        data = self._held_back + data
        # A CR at the end may be half of a CR LF.
        self._held_back = b"\r" if data.endswith(b"\r") else b""
        self._seen += data[: len(data) - len(self._held_back)].replace(b"\r\n", b"\n")
        if not self._inside and not self._enter():
            return None
        stop = self._seen.find(self._end, self._searched)
        newline = self._seen.find(b"\n", stop + len(self._end)) if stop >= 0 else -1
        if newline < 0:
            # Searched bytes are not searched again, so that many small pieces cost no quadratic time.
            self._searched = stop if stop >= 0 else max(0, len(self._seen) - len(self._end))
            if len(self._seen) > _LIMIT:
                raise RemoteError(
                    "the remote answered with more than 1 MiB; is something wrong with its shell start-up files?"
                )
            return None
        return _answer(bytes(self._seen[1:stop]), bytes(self._seen[stop + len(self._end) : newline]))

    @property
    def lines(self) -> list[str]:
        """The complete lines of an answer that is still arriving; an empty last one may belong to the end marker."""
        whole = self._seen.rfind(b"\n") if self._inside else 0
        return bytes(self._seen[1:whole]).decode("utf-8", "replace").split("\n") if whole else []

    def _enter(self) -> bool:
        """Look for the beginning of the frame; return whether it was found, and drop what stands before it."""
        start = self._seen.find(self._begin)
        if start < 0:
            self.noise = bytes(self._seen[-4096:])
            del self._seen[: -4096 - len(self._begin)]
            return False
        self.noise = bytes(self._seen[:start][-4096:])
        # Its last newline stays: the end marker may begin with it.
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
    """Return the answer to `script` from the complete output of its command.

    Raises:
        RemoteError: The output has no complete answer: the shell did not run the script to its end.
    """
    reader = AnswerReader(script.marker)
    answer = reader.feed(output)
    if answer is None:
        hint = reader.noise.strip().splitlines()[-1:] or [b"no output"]
        raise RemoteError(f"the remote's shell did not run our script ({hint[0][:200].decode('utf-8', 'replace')!s})")
    return answer
