"""A session of ours follows one of the Go program: it begins at now, and repeats nothing that Go has done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from contextlib import nullcontext
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.go.support import GoDesk, GoSession, OwnDesk, opens, record_of, unique, wait_acting
from tests.lab.laptop import RemoteShell
from tests.lab.tools import wait_until

if TYPE_CHECKING:
    from tests.lab.laptop import Laptop
    from tests.lab.sshd import Sshd

pytestmark = pytest.mark.real


def kill(session: GoSession, number: int) -> None:
    """End a session by a signal; with SIGKILL it leaves its ssh behind, which goes too."""
    children = psutil.Process(session.pid).children()
    os.kill(session.pid, number)
    session.process.wait(10)
    for child in children:
        if child.is_running():
            child.kill()


def served(go: GoSession) -> list[str]:
    """Have the Go program open ten pages and copy twice; return the URLs."""
    urls = [opens(go, f"before-{number}") for number in range(10)]
    for text in ("older", "newer"):
        assert go.run(f"printf {text} | xclip -selection clipboard -i") == (0, b"")
        wait_until(lambda text=text: go.desk.clipboard() == text.encode(), "it is copied")  # type: ignore[misc]
    wait_until(lambda: sorted(go.desk.opened()) == sorted(urls), "they are open")
    return urls


def test_replace_ends_go_and_repeats_nothing(laptop: Laptop, go: GoSession, own_desk: OwnDesk) -> None:
    urls, topic = served(go), go.record.topic
    own_desk.copy(b"newest")
    with RemoteShell(laptop, "--replace") as ours:
        assert go.process.wait(10) == 255
        assert go.did("ended"), "by SIGTERM, not by force"
        wait_acting(laptop, ours)
        assert [one.pid for one in laptop.sessions()] == [ours.pid]
        assert record_of(laptop, ours.pid).topic != topic
        repeats_nothing(laptop, ours, own_desk, urls)


@pytest.mark.parametrize("flag", ["--join", "--replace"])
def test_pages_fired_over_the_takeover_open_once(
    laptop: Laptop, remote: Sshd, go: GoSession, own_desk: OwnDesk, flag: str
) -> None:
    """What the Go program got and did not come to is listed as found; everything else opens in one of the two."""
    urls = [unique(f"fired-{number}") for number in range(22)]  # more at once would be held
    script = "PATH=$HOME/.local/bin:$PATH\n" + "".join(f"xdg-open '{url}' || exit; sleep 0.15\n" for url in urls)
    words = [*remote.client.ssh, "devbox", "sh -s"]
    with RemoteShell(laptop) if flag == "--join" else nullcontext() as stand_by:
        if stand_by is not None:
            assert record_of(laptop, stand_by.pid).role == "standby"
        with subprocess.Popen(words, env=laptop.env, stdin=subprocess.PIPE) as fired:
            assert fired.stdin is not None
            fired.stdin.write(script.encode())
            fired.stdin.close()
            wait_until(lambda: len(go.desk.opened()) > 4, "Go opens some")
            if stand_by is not None:
                kill(go, signal.SIGKILL)
            with RemoteShell(laptop, flag) as ours:
                assert fired.wait(60) == 0
                last = opens(ours, "last")
                wait_until(lambda: last in own_desk.opened(), "ours opens the last")

                def accounted() -> list[str]:
                    lines = laptop.run("status", "--held").stdout.splitlines()
                    found = [line.split()[-1] for line in lines if "found" in line]
                    opened = [*go.desk.opened(), *own_desk.opened()]
                    return sorted([*opened, *(url for url in found if url in urls and url not in opened)])

                wait_until(lambda: len(accounted()) > len(urls), f"all are opened or found: {len(accounted())}")
                assert accounted() == sorted([*urls, last])
                assert len(own_desk.opened()) > 1, "some came after the take-over"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stand_by_takes_over_from_go_and_repeats_nothing(
    laptop: Laptop, go: GoSession, own_desk: OwnDesk, number: int
) -> None:
    with RemoteShell(laptop) as ours:
        assert record_of(laptop, ours.pid).role == "standby"
        urls = served(go)
        own_desk.copy(b"newest")
        kill(go, number)
        wait_acting(laptop, ours)
        repeats_nothing(laptop, ours, own_desk, urls)


def repeats_nothing(laptop: Laptop, ours: RemoteShell, desk: OwnDesk, urls: list[str]) -> None:
    """Check that what Go has done is not done again, that it can be had, and that what comes now is done once."""
    after = [opens(ours, f"after-{number}") for number in range(3)]
    # ntfy's live stream may leave one out at its beginning; a poll two seconds later brings it (docs/ntfy.md).
    wait_until(lambda: len(desk.opened()) >= len(after), "those after it are open")
    assert sorted(desk.opened()) == sorted(after)
    assert desk.clipboard() == b"newest"
    assert ours.run("xclip -selection clipboard -o") == (0, b"newest")
    assert ours.run("printf now | xclip -selection clipboard -i") == (0, b"")
    wait_until(lambda: desk.clipboard() == b"now", "it is copied")
    listed = [line.split()[-1] for line in laptop.run("status", "--held").stdout.splitlines() if "found" in line]
    assert [url for url in listed if url in urls] == urls  # those of earlier tests are listed, too


def test_a_pinned_topic_that_go_has_served_begins_at_now(laptop: Laptop, go_desk: GoDesk, own_desk: OwnDesk) -> None:
    laptop.config.write_text(f'topic = "nssh_{random.randrange(10**9)}"\n' + laptop.config.read_text())  # noqa: S311
    with GoSession(laptop, go_desk) as go:
        go.wait_did("subscribed")
        urls = served(go)
    own_desk.copy(b"newest")
    with RemoteShell(laptop) as ours:
        wait_acting(laptop, ours)
        repeats_nothing(laptop, ours, own_desk, urls)
    # The second time there is a ledger: what was sent meanwhile is ours.
    with RemoteShell(laptop) as ours:
        wait_acting(laptop, ours)
        url = opens(ours, "again")
        wait_until(lambda: own_desk.opened()[-1] == url, "it is open")
        assert len(own_desk.opened()) == 4
