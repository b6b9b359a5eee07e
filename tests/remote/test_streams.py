"""Standard input, output and error in whatever state a program leaves them to a shim."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.waiting import until
from tests.remote.support import Laptop, server

if TYPE_CHECKING:
    from tests.remote.support import Home

pytestmark = pytest.mark.real


def test_a_reader_that_is_gone_is_no_traceback(home: Home) -> None:
    with Laptop(server(home), {"text/plain": b"x" * 100000}):
        read, write = os.pipe()
        os.close(read)
        process = subprocess.Popen(
            [home.bin / "wl-paste"], env=home.env, stdout=write, stderr=subprocess.PIPE, text=True
        )  # fmt: skip
        os.close(write)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (-signal.SIGPIPE, "")


def test_an_output_that_can_t_be_written_is_one_line(home: Home) -> None:
    with Laptop(server(home), {"text/plain": b"x"}), Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [home.bin / "wl-paste"], env=home.env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "wl-paste: can't write the output: No space left on device\n")


def test_an_interrupted_shim_is_silent(home: Home) -> None:
    with Laptop(server(home)) as laptop:
        laptop.silent = True
        process = home.start("xclip", "-sel", "c", "-o")
        until(lambda: laptop.requests)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (-signal.SIGINT, b"", b"")


def test_a_closed_stream_is_no_place_for_a_connection(home: Home) -> None:
    """Its number would be the next to be given away, and what is meant for the user would go to the bus."""
    with Laptop(server(home), {"text/plain": b"x"}) as laptop:

        def run(line: str) -> tuple[int, str]:
            done = subprocess.run(["/bin/sh", "-c", line], env=home.env, capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr

        can_t_write = "xclip: can't write the output: Bad file descriptor\n"
        assert run("xclip -sel c -o >&-") == (1, can_t_write)
        assert run("xclip -sel c -o <&- >&-") == (1, can_t_write)
        assert run("xclip -sel c -o <&- 2>&-") == (0, "x")
        assert run("xclip -sel c <&-") == (1, "xclip: can't read the input: Bad file descriptor\n")
        assert run("wl-copy y <&- >&- 2>&-") == (0, "")
        assert laptop.wait()[0][1] == b"y"


def test_non_blocking_streams_are_waited_for(home: Home) -> None:
    """Whoever shares a terminal or a pipe with the shim may have made it so."""
    data = os.urandom(1 << 18)
    with Laptop(server(home), {"text/plain": data}) as laptop:
        stdin, feed = os.pipe()
        os.set_blocking(stdin, False)
        process = subprocess.Popen([home.bin / "xsel", "-bi"], env=home.env, stdin=stdin, stderr=subprocess.PIPE)
        try:
            for start in range(0, len(data), 4096):
                os.write(feed, data[start : start + 4096])
                until(lambda: not _waiting(stdin) or process.poll() is not None)
                assert process.poll() is None
        finally:
            os.close(stdin)
            os.close(feed)
        assert (process.communicate()[1], process.returncode) == (b"", 0)
        assert laptop.wait()[0][1] == data

        drain, stdout = os.pipe()
        os.set_blocking(stdout, False)
        process = subprocess.Popen([home.bin / "xsel", "-bo"], env=home.env, stdout=stdout, stderr=subprocess.PIPE)
        os.close(stdout)
        until(lambda: _waiting(drain) >= fcntl.fcntl(drain, fcntl.F_GETPIPE_SZ) or process.poll() is not None)
        with open(drain, "rb") as file:
            assert file.read() == data
        assert (process.communicate()[1], process.returncode) == (b"", 0)


def _waiting(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), sys.byteorder)
