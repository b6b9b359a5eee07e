"""Logins on a remote whose answer comes to a port there: played by a browser on the laptop, over the real program."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import socket
import threading
import time
from urllib.parse import quote

import pytest

from nssh.local.flood import FLOOD, FLOOD_SECONDS
from nssh.state import held_urls
from tests.lab.chromium import Chromium
from tests.lab.laptop import NSSH, Laptop, RemoteShell
from tests.lab.netns import Namespace
from tests.lab.ports import free_port
from tests.lab.sshd import Sshd
from tests.lab.terminal import Terminal
from tests.lab.tools import DEADLINE, wait_until
from tests.session.oauth.play import GH, Login, Provider, is_listened_on, prepared, seen_off, wait_joined
from tests.session.support import PROMPT, settle

pytestmark = pytest.mark.real

# --- With a real browser ----------------------------------------------------------------------------------------------


@pytest.mark.timeout(400)  # a minute, where nothing else is going on
def test_a_hundred_logins_in_a_real_browser(laptop: Laptop, provider: Provider) -> None:
    """As gh and as gcloud log in, by turns; the browser connects on suspicion, and so do we."""
    gcloud = f"http://localhost:{free_port()}/"
    times: list[float] = []
    with Chromium(os.environ) as browser, RemoteShell(laptop) as shell, contextlib.ExitStack() as silent:
        laptop.wait_up()
        for number in range(100):
            # No faster than a URL may follow another before they are held for a flood.
            if len(times) >= FLOOD:
                time.sleep(max(0.0, times[-FLOOD] + FLOOD_SECONDS + 0.1 - time.monotonic()))
            if number % 2:
                login = Login(shell, gcloud, f"{provider.url}/page?r=")
            else:
                login = Login(shell, GH, f"{provider.url}/redirect?r=")
            times.append(time.monotonic())  # it was opened before that, for certain
            for _ in range(2):
                silent.enter_context(socket.create_connection(("127.0.0.1", login.port), DEADLINE))
            browser.visit(login.url)
            browser.wait_text("logged in as c0de_of_this_login_")
            login.finish(provider.last)
            assert browser.text() == f"logged in as {provider.last}"
    assert len(times) == 100
    events = laptop.events()
    assert [event for event in events if event["event"] in {"callback-failed", "open-held", "open-failed"}] == []
    assert sum(event["event"] == "callback-open" for event in events) == 100


# --- Over the real program, whatever the browser ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("redirect", "host"),
    [
        (GH, "127.0.0.1"),
        ("http://localhost:PORT/", "127.0.0.1"),
        ("http://localhost:PORT/", "::1"),
        ("http://localhost:PORT", "127.0.0.1"),
        ("http://[::1]:PORT/a/b", "::1"),
    ],
)
def test_a_login_is_finished(laptop: Laptop, redirect: str, host: str) -> None:
    with RemoteShell(laptop) as shell:
        laptop.wait_up()
        login = Login(shell, redirect, host=host)
        with socket.create_connection(("127.0.0.1", login.port)):  # on suspicion
            assert login.answer("c0de_of_this_login_") == "logged in as c0de_of_this_login_"
            login.finish("c0de_of_this_login_")
    wait_until(lambda: not is_listened_on(login.port), "the port is given back")
    assert [event["port"] for event in laptop.events() if event["event"] == "callback-open"] == [login.port]


def test_a_port_is_listened_on_before_the_browser_opens(laptop: Laptop) -> None:
    seen = laptop.client.home / "seen"
    browser = laptop.client.home / "looking"
    browser.write_text(
        f"""#!/bin/sh
port=$(printf '%s' "$1" | sed 's/.*%3A\\([0-9]*\\)%2F.*/\\1/')
hex=$(printf ':%04X' "$port")
grep -h "$hex " /proc/net/tcp /proc/net/tcp6 | grep -c ' 0A ' > {seen}
echo "$1" >> {laptop.opened_file}
"""
    )
    browser.chmod(0o755)
    laptop.config.write_text(f'[browser]\ncommand = "{browser}"\n')
    with RemoteShell(laptop) as shell:
        laptop.wait_up()
        login = Login(shell, "http://localhost:PORT/cb")
        assert seen.read_text() == "2\n"
        login.answer("c0de_of_this_login_")
        login.finish("c0de_of_this_login_")


def test_a_low_port_and_a_taken_one_are_told(laptop: Laptop) -> None:
    desktop = laptop.client.home / "desktop"
    desktop.mkdir()
    notified = laptop.client.home / "notified"
    tool = desktop / "notify-send"
    tool.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {notified}\n')
    tool.chmod(0o755)
    laptop.env |= {"PATH": f"{desktop}:{laptop.env['PATH']}", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}
    with RemoteShell(laptop) as shell, socket.create_server(("127.0.0.1", 0)) as taken:
        laptop.wait_up()
        port = taken.getsockname()[1]
        url = "https://provider.example/?redirect_uri=http%3A%2F%2Flocalhost"
        assert shell.run(f"xdg-open '{url}%3A{port}%2F'")[0] == 0
        laptop.wait_opened(f"{url}%3A{port}%2F")  # who knows: the provider may show a code to copy
        wait_until(lambda: "is taken" in laptop.sessions()[0].problem, "it is told")
        expected = f"port {port} is taken on this machine: a login on devbox that waits for its answer there can't be"
        assert expected in laptop.run("status").stdout
        wait_until(lambda: notified.exists() and expected in notified.read_text(), "the desktop shows it")
        assert shell.run(f"xdg-open '{url}%2Fcallback'")[0] == 0
        wait_until(lambda: "port 80 is below 1024" in laptop.run("status").stdout, "the other is told, too")
        assert notified.read_text().count("port 80 ") == 0
        # One that can be had: the complaint about another port stays, the one about it goes.
        taken.close()
        shell.run(f"xdg-open '{url}%3A{port}%2F'")
        wait_until(lambda: is_listened_on(port), "now it is listened on")
    failed = [event["err"] for event in laptop.events() if event["event"] == "callback-failed"]
    assert failed == ["is taken on this machine", "is below 1024, where nssh does not listen"]


def test_an_sshd_that_forwards_nothing_is_no_obstacle() -> None:
    with Namespace() as network, Sshd(network=network, options=["AllowTcpForwarding no"]) as sshd:
        prepared(sshd)
        with seen_off(Laptop(sshd.client)) as laptop, RemoteShell(laptop) as shell:
            laptop.wait_up()
            for redirect, host in ((GH, "127.0.0.1"), ("http://localhost:PORT/", "::1")):
                login = Login(shell, redirect, host=host)
                assert login.answer("c0de_of_this_login_") == "logged in as c0de_of_this_login_"
                login.finish("c0de_of_this_login_")


def test_a_login_that_was_given_up_on_the_remote_is_told_to_the_browser(laptop: Laptop) -> None:
    with RemoteShell(laptop) as shell:
        laptop.wait_up()
        port = free_port()
        url = f"https://provider.example/?r=http%3A%2F%2F127.0.0.1%3A{port}%2Fcallback"
        shell.run(f"xdg-open '{url}'")
        wait_until(lambda: is_listened_on(port), "it is listened on")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        connection.request("GET", "/callback?code=c0de_of_this_login_")
        answer = connection.getresponse()
        assert answer.status == 502
        text = answer.read().decode()
        connection.close()
        assert text.startswith(f"nssh: nothing listens on port {port} of devbox.")
        assert "c0de_of_this_login_" not in text


def test_two_logins_at_once(laptop: Laptop) -> None:
    with RemoteShell(laptop) as one, RemoteShell(laptop) as two:
        wait_joined(laptop)
        first, second = Login(one), Login(two, "http://localhost:PORT/")
        assert second.answer("c0de_of_this_login_2") == "logged in as c0de_of_this_login_2"
        assert first.answer("c0de_of_this_login_1") == "logged in as c0de_of_this_login_1"
        first.finish("c0de_of_this_login_1")
        second.finish("c0de_of_this_login_2")
    listened = [event["port"] for event in laptop.events() if event["event"] == "callback-open"]
    assert sorted(listened) == sorted([first.port, second.port]), "each by one session"


# --- Whoever dies meanwhile -------------------------------------------------------------------------------------------


def test_a_login_whose_url_was_held_is_finished_by_who_opens_it(laptop: Laptop, apart: Sshd) -> None:
    port = free_port()
    redirect = f"http://127.0.0.1:{port}/callback"
    results: list[tuple[int, bytes]] = []
    with RemoteShell(laptop) as shell:
        laptop.wait_up()
        # The program has listened, and sent its URL, which came too late.
        apart.write_home("late/xdg-open", "#!/bin/sh\n: > ~/late/sent\n")
        command = f"chmod +x ~/late/xdg-open; PATH=$HOME/late:$PATH python3 ~/login.py '{redirect}' ''"
        waiting = threading.Thread(target=lambda: results.append(shell.run(command)), daemon=True)
        waiting.start()
        wait_until((apart.home / "late/sent").exists, "the program waits")
        (record,) = laptop.sessions()
        (ledger,) = laptop.state.glob(f"topics/*.{record.serial}.ledger")
        url = f"https://provider.example/?r={quote(redirect, safe='')}"
        assert held_urls.add(os.fspath(ledger.with_suffix(".held")), held_urls.HeldUrl(url, int(time.time()) - 3600))
        assert not is_listened_on(port)
        done = laptop.run("status", "--open-held")
        assert (done.returncode, done.stderr) == (0, "")
        assert is_listened_on(port)
        assert laptop.opened() == [url]
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)) as browser:
            browser.request("GET", "/callback?code=c0de_of_this_login_")
            assert browser.getresponse().read() == b"logged in as c0de_of_this_login_"
        waiting.join(DEADLINE)
        assert results == [(0, b"got c0de_of_this_login_\n")]


def test_a_terminal_shows_nothing_of_all_this(laptop: Laptop) -> None:
    """ssh itself has something to say when a port is refused."""
    with Terminal([*NSSH, "--ssh", "devbox"], laptop.env) as window:
        settle(window)
        laptop.wait_up()
        window.send(b"PATH=$HOME/.local/bin:$PATH\r")
        window.expect(PROMPT)
        port = free_port()
        window.send(f"xdg-open http://127.0.0.1:{port}/callback; echo do''ne\r".encode())
        window.expect(b"done")
        window.expect(PROMPT)
        wait_until(lambda: is_listened_on(port), "it is listened on")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        with contextlib.closing(connection):
            connection.request("GET", "/callback?code=c0de_of_this_login_")
            assert connection.getresponse().status == 502
        window.send(b"echo not''hing\r")
        window.expect(b"nothing")
        assert b"failed" not in window.output
        assert b"refused" not in window.output
        assert b"c0de_of_this_login_" not in window.output
        window.send(b"exit\r")
        window.wait()
