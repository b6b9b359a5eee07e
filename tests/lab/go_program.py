"""A stand-in for the Go program of the same name (abizer/nssh), as it lies on a remote: a binary, and links to it.

It is an ELF file that holds what the Go linker writes into the real one about its source, and that does nothing but run
a shell script with its own name and arguments. So it can be recognised as the real one, and tells how it was called.
"""

from __future__ import annotations

import os
import platform
import shlex
import struct
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_PLAY = f"""\
import sys
sys.path.insert(0, {os.fspath(_ROOT)!r})
from tests.go.program import main
sys.exit(main(sys.argv[1:]))
"""
ON_THE_WIRE = f'exec {shlex.quote(sys.executable)} -IS -c {shlex.quote(_PLAY)} "$name" "$@"'
"""What it does when its shims are to work: the part of `tests.go`."""

NAMES = ("xdg-open", "sensible-browser", "xclip", "wl-copy", "wl-paste")
VERSION = "v2.5.1"

_BUILD = (
    b"\xff Go buildinf:\x08\x02\0\0\x08go1.26.1\0\0path\tgithub.com/abizer/nssh/v2/cmd/nssh\n"
    b"mod\tgithub.com/abizer/nssh/v2\t(devel)\t\nbuild\tCGO_ENABLED=0\n"
)

_ANSWER = f"""\
case "$name $*" in
"nssh --version") printf 'nssh {VERSION}\\n  go      go1.26.1\\n  os      linux\\n'; exit 0 ;;
esac
"""


def binary(script: Path) -> bytes:
    """Return an ELF file that runs `sh SCRIPT NAME ARGUMENTS`, with the name by which it was started."""
    base, head = 0x400000, 64 + 56
    make = {"x86_64": (62, _x86_64), "aarch64": (183, _aarch64)}.get(platform.machine())
    if make is None:
        pytest.skip(f"there is no stand-in for the Go program on {platform.machine()}")
    machine, code = make
    size = len(code(0, 0))
    shell, path = b"/bin/sh\0", os.fsencode(script) + b"\0"
    at = base + head + size
    text = code(at, at + len(shell)) + shell + path + _BUILD
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, base + head, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    whole = head + len(text)
    return ident + header + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, whole, whole, 0x10000) + text


def _x86_64(shell: int, script: int) -> bytes:
    """Put the two words before the arguments, which lie on the stack, and call execve with them."""
    return (
        b"\x48\x8b\x0c\x24"  # mov rcx, [rsp]: the number of arguments
        b"\x48\x8d\x54\xcc\x10"  # lea rdx, [rsp+rcx*8+16]: the environment
        b"\x48\xb8" + struct.pack("<Q", script) + b"\x48\x89\x04\x24"  # mov rax, script; mov [rsp], rax
        b"\x48\xbf" + struct.pack("<Q", shell) + b"\x57"  # mov rdi, shell; push rdi
        b"\x48\x89\xe6\xb8\x3b\0\0\0\x0f\x05"  # mov rsi, rsp; mov eax, 59 (execve); syscall
        b"\xbf\x7f\0\0\0\xb8\x3c\0\0\0\x0f\x05"  # mov edi, 127; mov eax, 60 (exit); syscall
    )


def _aarch64(shell: int, script: int) -> bytes:
    words = (
        0xF94003E3, 0x910003E1,  # ldr x3, [sp]; mov x1, sp
        0x8B030C22, 0x91004042,  # add x2, x1, x3, lsl 3; add x2, x2, 16
        0x58000144, 0xF9000024,  # ldr x4, script; str x4, [x1]
        0x58000140, 0xF81F8C20,  # ldr x0, shell; str x0, [x1, -8]!
        0xD2801BA8, 0xD4000001,  # mov x8, 221 (execve); svc 0
        0xD2800FE0, 0xD2800BA8, 0xD4000001, 0xD503201F,  # mov x0, 127; mov x8, 93 (exit); svc 0; nop
    )  # fmt: skip
    return struct.pack("<14I", *words) + struct.pack("<QQ", script, shell)


class GoProgram:
    """The stand-in in a home directory, installed as the Go program's own `nssh infect` does it.

    Args:
        home: The home directory.
        directory: Where the binary is; empty for ~/.local/bin. The links are always there.
        does: A shell script for what it does when it is called; `$name` and the arguments say how.
    """

    def __init__(self, home: Path, directory: Path | None = None, does: str = "exit 1") -> None:
        self.bin = home / ".local/bin"
        self.path = (directory or self.bin) / "nssh"
        self.links = [self.bin / name for name in NAMES]
        self._calls = home / "go-program-calls"
        home.mkdir(parents=True, exist_ok=True)
        script = home / "go-program"
        call = f"printf '%s %s\\n' \"$name\" \"$*\" >> '{self._calls}'\n"
        script.write_text("name=${1##*/}; shift\n" + call + _ANSWER + does + "\n")
        self._content = binary(script)
        self.install()

    def install(self) -> None:
        """Do as its `nssh infect` does: write the binary, through whatever file is there, and make the links anew."""
        for directory in (self.bin, self.path.parent):
            directory.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(self._content)
        self.path.chmod(0o755)
        for link in self.links:
            link.unlink(missing_ok=True)
            link.symlink_to(self.path)

    @property
    def calls(self) -> list[str]:
        """How it was called so far: name and arguments, in one line each."""
        return self._calls.read_text().splitlines() if self._calls.exists() else []

    def forget_calls(self) -> None:
        """Begin anew with `calls`."""
        self._calls.unlink(missing_ok=True)
