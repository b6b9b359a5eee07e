"""`nssh status` and the question beside a session of the Go program."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.go.support import GoSession
from tests.lab.laptop import NSSH, RemoteShell
from tests.lab.terminal import Terminal
from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from tests.go.support import GoDesk
    from tests.lab.laptop import Laptop

pytestmark = pytest.mark.real


def test_a_session_of_the_go_program_is_asked_and_shown_without_its_topic(laptop: Laptop, go_desk: GoDesk) -> None:
    with GoSession(laptop, go_desk) as go:
        go.wait_did("subscribed")
        record = go.record
        done = laptop.run("status")
        first, second, third, fourth = done.stdout.splitlines()
        assert first == f"devbox  (the Go program's, host {record.host})"
        assert re.fullmatch(rf"  pid {go.pid}, up \d+s, since 20\d\d-\d\d-\d\d \d\d:\d\d", second)
        assert re.fullmatch(rf"  bus {re.escape(record.server)}, answers in \d+ ms", third)
        assert fourth == "  its record does not tell user, port, transport, state of the bus and restarts"
        told = laptop.run("status", "--json").stdout
        (fields,) = json.loads(told)
        assert (fields["program"], fields["state"], fields["alive"]) == ("go", "alive", True)
        assert record.topic not in done.stdout + done.stderr + told


def test_the_question_says_whose_session_it_is(laptop: Laptop, go_desk: GoDesk) -> None:
    with GoSession(laptop, go_desk) as go:
        go.wait_did("subscribed")
        with Terminal([*NSSH, "devbox"], laptop.env, columns=200) as window:
            line = rb"pid %d, devbox, the Go program's on %s, up \d+s, answers in \d+ ms"
            window.expect(re.compile(line % (go.pid, re.escape(go.record.server).encode())))
            window.send(b"c")
            window.wait()
            assert go.record.topic.encode() not in window.output


def test_what_the_go_program_has_handled_is_found_and_not_opened(laptop: Laptop, go_desk: GoDesk) -> None:
    urls = [f"http://example.com/before/{number}?token=x" for number in range(3)]
    with GoSession(laptop, go_desk) as go:
        go.wait_did("subscribed")
        for url in urls:
            assert go.run(f"xdg-open '{url}'")[0] == 0
        wait_until(lambda: sorted(go_desk.opened()) == sorted(urls), "the Go program opens them")
        with RemoteShell(laptop, "--join") as shell:
            (standby,) = [one for one in laptop.sessions() if one.pid == shell.pid]
            assert standby.topic == go.record.topic
            go.close()
            laptop.wait_up()
            wait_until(lambda: laptop.run("status", "--held").stdout.count("found, not opened") == 3, "they are found")
            assert "  3 URLs found, not opened: nssh status --held lists them" in laptop.run("status").stdout
            (told,) = json.loads(laptop.run("status", "--json").stdout)
            assert (told["held"], told["found"], told["program"]) == (0, 3, "nssh")
            assert laptop.run("status", "--open-held").returncode == 0
            assert shell.run("xdg-open http://example.com/after")[0] == 0
            laptop.wait_opened("http://example.com/after")
    assert [url for url in laptop.opened() if "before" in url] == []
    listed = laptop.run("status", "--held").stdout.splitlines()
    assert [line.split("  ")[1:] for line in listed] == [["found, not opened", url] for url in urls]
