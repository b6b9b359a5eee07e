from __future__ import annotations

import pytest

from nssh.ssh._dial import hops
from nssh.ssh.batch_connection import connection_options
from nssh.ssh.reasons import explain

CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Add correct host key in /home/a/.ssh/known_hosts to get rid of this message.\r
Offending ED25519 key in /home/a/.ssh/known_hosts:7\r
Host key for devbox has changed and you have requested strict checking.\r
Host key verification failed.\r
"""


REFUSED = "connect to host x port 22: Connection refused"
TIMED_OUT = "connect to host x port 22: Connection timed out"
NO_ROUTE = "connect to host x port 22: No route to host"
NO_NAME = "Could not resolve hostname x: Name or service not known"
TOO_MANY = "Received disconnect from ::1 port 22:2: Too many authentication failures"
OFFENDING = "Host key for devbox has changed and you have requested strict checking (offending key in {file}:7)"
JUMP = """\
a@jump: Permission denied (publickey).
kex_exchange_identification: Connection closed by remote host
Connection closed by UNKNOWN port 65535
"""


@pytest.mark.parametrize(
    ("said", "kind", "shown"),
    [
        (CHANGED, "hostkey", OFFENDING.format(file="/home/a/.ssh/known_hosts")),
        (f"ssh: {NO_NAME}\r\n", "resolve", NO_NAME),
        (f"ssh: {REFUSED}\r\n", "refused", REFUSED),
        (f"ssh: {TIMED_OUT}\r\n", "timeout", TIMED_OUT),
        (f"ssh: {NO_ROUTE}\r\n", "unreachable", NO_ROUTE),
        ("a@x: Permission denied (publickey,password).\r\n", "auth", "a@x: Permission denied (publickey,password)"),
        (f"{TOO_MANY}\n", "auth", TOO_MANY),
        (JUMP, "auth", "a@jump: Permission denied (publickey)"),
        ("Connection to x closed by remote host.\r\n", "closed", "Connection to x closed by remote host"),
        ("Timeout, server x not responding.\r\n", "timeout", "Timeout, server x not responding"),
        ("something new\n", "unreachable", "something new"),
        ("bad \x1b[31mcolours\x07\n", "unreachable", "bad [31mcolours"),
    ],
)
def test_ssh_s_words_are_understood(said: str, kind: str, shown: str) -> None:
    error = explain("devbox", said, 255)
    assert (error.kind, str(error)) == (kind, f"devbox: {shown}")


def test_silence_is_told_too() -> None:
    error = explain("devbox", "\n", 255)
    assert (error.kind, str(error)) == ("unreachable", "devbox: ssh ended with status 255")


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ([], []),
        (["-p", "2222", "-l", "me"], ["-p", "2222", "-l", "me"]),
        (["-p2222", "-4C"], ["-p", "2222", "-4", "-C"]),
        (["-vvtp", "22"], ["-p", "22"]),
        (["-N", "-f", "-A", "-X", "-T", "-q", "-n"], []),
        (["-L", "1:a:2", "-D9", "-o", "User=me", "-W", "a:1", "-S", "x"], ["-o", "User=me"]),
        (["-i", "-p", "-F", "file"], ["-i", "-p", "-F", "file"]),
        (["-J", "a,b"], ["-J", "a,b"]),
    ],
)
def test_only_options_about_the_connection_are_kept(options: list[str], kept: list[str]) -> None:
    assert connection_options(options) == kept


@pytest.mark.parametrize(
    ("jump", "expected"),
    [
        ("bastion", [("bastion", ())]),
        ("me@bastion:2222", [("me@bastion", ("-p", "2222"))]),
        ("a,b@c:1", [("a", ()), ("b@c", ("-p", "1"))]),
        ("ssh://me@bastion:22/", [("me@bastion", ("-p", "22"))]),
        ("root@[127.0.0.1]:30357", [("root@127.0.0.1", ("-p", "30357"))]),
        ("me@[::1]:22", [("me@::1", ("-p", "22"))]),
        ("[fe80::1]", [("fe80::1", ())]),
        ("fe80::1", [("fe80::1", ())]),
        ("a@b@host:1", [("a@b@host", ("-p", "1"))]),
    ],
)
def test_proxy_jump_is_taken_apart(jump: str, expected: list[tuple[str, tuple[str, ...]]]) -> None:
    assert hops(jump) == expected
