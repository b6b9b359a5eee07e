"""The question that a second nssh asks on a real terminal: what is shown, and what each key does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.lab.laptop import NSSH, Laptop, RemoteShell
from tests.lab.screen import Screen
from tests.lab.terminal import Terminal
from tests.lab.tools import wait_until
from tests.session.support import hold, settle

if TYPE_CHECKING:
    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real

READER = "stty raw -echo; echo ready; dd bs=1 count=3 2>/dev/null"
"""Shows the first three bytes that it is sent."""

FIRST = "devbox is connected already"


def window(
    laptop: Laptop, *words: str, rows: int = 24, columns: int = 80, command: str = "", **environ: str
) -> Terminal:
    argv = [*NSSH, "--ssh", *words, "devbox", *filter(None, [command])]
    return Terminal(argv, {**laptop.env, **environ}, rows=rows, columns=columns)


def marked(lines: list[str]) -> str:
    """Return the option that Enter chooses."""
    [line] = [line for line in lines if line.startswith(">")]
    return line.split()[2]


def test_one_that_answers_is_joined_by_enter(laptop: Laptop) -> None:
    with RemoteShell(laptop) as first:
        [record] = laptop.wait_up()
        with window(laptop) as second:
            lines = Screen(second).wait("Cancel")
            assert lines[0].startswith(f"{FIRST} ({record.key}")
            assert f"pid {first.pid}, devbox, ssh, leader, up " in lines[1]
            assert "answers in " in lines[1]
            assert [line[5:].split("  ")[0] for line in lines[2:]] == ["Join", "Replace", "New topic", "Cancel"]
            assert marked(lines) == "Join"
            modes = second.attributes()
            second.send(b"\r")
            settle(second)
            assert modes != second.attributes()
            second.send(b"exit 7\r")
            assert second.wait() == 7
            assert second.attributes() == second.initial
            assert "devbox is connected already" in Screen(second).text


@pytest.mark.parametrize("victim", ["launcher", "bridge"])
def test_one_that_is_wedged_is_replaced_by_enter(laptop: Laptop, continued: list[int], victim: str) -> None:
    first = RemoteShell(laptop)
    [record] = laptop.wait_up()
    hold(first.pid if victim == "launcher" else record.bridge, continued)
    with window(laptop) as second:
        lines = Screen(second).wait("Cancel")
        assert "does not answer" in lines[1]
        assert ("it is suspended" in lines[1]) == (victim == "launcher")
        assert marked(lines) == "Replace"
        second.send(b"\r")
        settle(second)
        assert first.process.wait(10)
        assert [one.pid for one in laptop.sessions()] == [second.pid]
        second.send(b"exit\r")
        assert second.wait() == 0
    first.close()


def test_one_whose_bus_is_down_is_joined_by_enter_and_the_reason_is_shown(
    relay_laptop: Laptop, remote: Sshd, continued: list[int]
) -> None:
    with RemoteShell(relay_laptop):
        relay_laptop.wait_up()
        for one in remote.leftovers():
            if "serve" in one.cmdline():
                hold(one.pid, continued)
        with window(relay_laptop) as second:
            lines = Screen(second).wait("Cancel")
            assert "answers, but its bus is down" in lines[1]
            assert marked(lines) == "Join"
            second.send(b"\x1b")
            assert second.wait() == 130


@pytest.mark.parametrize("key", [b"\x03", b"\x04", b"\x1b", b"c", b"\x1b[A\r"], ids=["^C", "^D", "Esc", "c", "up"])
def test_cancelled_ends_with_130_and_leaves_everything_as_it_was(laptop: Laptop, key: bytes) -> None:
    with RemoteShell(laptop) as first:
        laptop.wait_up()
        with window(laptop) as second:
            Screen(second).wait("Cancel")
            second.send(key)
            assert second.wait() == 130
            assert second.attributes() == second.initial
        assert [one.pid for one in laptop.sessions()] == [first.pid]
        assert first.run("echo still here") == (0, b"still here\n")


def test_a_new_topic_by_its_key(laptop: Laptop) -> None:
    with RemoteShell(laptop):
        [record] = laptop.wait_up()
        with window(laptop) as second:
            Screen(second).wait("New topic")
            second.send(b"n")
            settle(second)
            wait_until(lambda: len({one.topic for one in laptop.sessions()}) == 2, "another topic")
            assert record.topic in {one.topic for one in laptop.sessions()}
            second.send(b"exit\r")
            assert second.wait() == 0


@pytest.mark.parametrize("typed", [b"join\r", b"JOIN\r\r", b"j", b"j\r", b"\x1b[200~join\r\x1b[201~"])
def test_the_answer_is_not_typed_to_the_remote(relay_laptop: Laptop, typed: bytes) -> None:
    with RemoteShell(relay_laptop):
        relay_laptop.wait_up()
        with window(relay_laptop, "-t", command=READER) as one:
            one.expect(b"connect to nothing")
            one.send(typed)
            one.expect(b"ready")
            one.send(b"xyz")
            one.expect(b"xyz")
            assert one.wait() == 0


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        (b"join\r", b"echo wh''ole\r"),
        (b"new\r\r", b"echo wh''ole\r"),
        (b"j", b"echo wh''ole\r"),
        (b"r", b"echo wh''ole\r"),  # replace begins with `re`, too
        (b"\x1b[200~join\recho wh''ole\r\x1b[201~", b""),
    ],
)
def test_a_command_behind_the_answer_reaches_the_remote_whole(
    relay_laptop: Laptop, typed: bytes, command: bytes
) -> None:
    first = RemoteShell(relay_laptop)
    relay_laptop.wait_up()
    with window(relay_laptop) as second:
        second.expect(b"connect to nothing")
        second.send(typed + command)
        second.expect(re.compile(rb"[\r\n]whole\r\n"))
        assert b"not found" not in second.output
        second.send(b"exit 7\r")
        assert second.wait() == 7
    first.close()


def test_a_pinned_topic_offers_no_new_one(relay_laptop: Laptop) -> None:
    relay_laptop.config.write_text('topic = "nssh_pinned"\n' + relay_laptop.config.read_text())
    with RemoteShell(relay_laptop):
        relay_laptop.wait_up()
        with window(relay_laptop) as second:
            assert "New topic" not in "\n".join(Screen(second).wait("Cancel"))
            second.send(b"n")
            second.send(b"c")
            assert second.wait() == 130


def test_a_narrow_window_without_colour_that_is_resized(relay_laptop: Laptop) -> None:
    with RemoteShell(relay_laptop):
        relay_laptop.wait_up()
        with window(relay_laptop, rows=10, columns=40, NO_COLOR="1") as second:
            screen = Screen(second, rows=10, columns=40)
            lines = screen.wait("Cancel")
            assert all(len(line) <= 40 for line in lines)
            assert marked(lines) == "Join"
            screen.resize(6, 24)
            lines = screen.wait(lambda lines: any(line.startswith(">") for line in lines) and len(lines) <= 6)
            assert all(len(line) <= 24 for line in lines)
            second.send(b"\x1b[B")
            screen.wait(lambda lines: any(line.startswith(">") and "Replace" in line for line in lines))
            second.send(b"\x03")
            assert second.wait() == 130
            assert set(re.findall(rb"\x1b\[([0-9;]*)m", second.output)) <= {b"0", b""}


@pytest.mark.parametrize("flag", ["--join", "--new", "--replace"])
def test_a_flag_asks_nothing(relay_laptop: Laptop, flag: str) -> None:
    first = RemoteShell(relay_laptop)
    relay_laptop.wait_up()
    with window(relay_laptop, flag) as second:
        settle(second)
        assert FIRST not in Screen(second).text
        second.send(b"exit\r")
        assert second.wait() == 0
    first.close()


def test_a_command_on_a_terminal_joins_and_asks_nothing(relay_laptop: Laptop) -> None:
    with RemoteShell(relay_laptop):
        relay_laptop.wait_up()
        with Terminal([*NSSH, "devbox", "echo", "done"], relay_laptop.env) as second:
            second.expect(b"done")
            assert second.wait() == 0
            assert FIRST.encode() not in second.output


def test_two_that_ask_at_once_and_are_both_told_to_replace(relay_laptop: Laptop) -> None:
    """The second one to decide ends what it was shown, not who has come meanwhile: that one it joins."""
    first = RemoteShell(relay_laptop)
    relay_laptop.wait_up()
    with window(relay_laptop) as one, window(relay_laptop) as two:
        for each in (one, two):
            Screen(each).wait("Cancel")
        for each in (one, two):
            each.send(b"r")
            settle(each)
        assert {record.pid for record in relay_laptop.sessions()} == {one.pid, two.pid}
        assert len({record.topic for record in relay_laptop.sessions()}) == 1
        for each in (one, two):
            each.send(b"exit\r")
            assert each.wait() == 0
    first.close()
