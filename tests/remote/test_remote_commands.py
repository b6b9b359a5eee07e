"""`nssh` on a remote: version, help, status, and the installation that repairs itself; real relays, ntfy and shells."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh import __version__
from nssh.base.errors import RemoteError
from nssh.remote import install, ping, stop, stub, usage, version
from nssh.wire.http import Client
from tests.lab.go_program import GoProgram
from tests.remote.scripted import ScriptedServer, answer, message
from tests.remote.support import TOPIC, Home, Interpreter, Laptop, Ran, interpreters, server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import ntfy

pytestmark = pytest.mark.real

OWN = f"nssh {__version__}\n".encode()
NOBODY = "no laptop answers: connect with `nssh <host>` from yours, or wait for it to come back"


def told(home: Home, status: int, **environ: str) -> dict[str, Any]:
    """Run `nssh status --json`, which must end with a status; return its fields."""
    ran = home.run("nssh", "status", "--json", env=environ)
    assert (ran.status, ran.err) == (status, "")
    assert TOPIC.encode() not in ran.out
    fields: dict[str, Any] = json.loads(ran.out)
    assert fields["version"] == __version__
    return fields


@pytest.mark.parametrize("interpreter", interpreters(), ids=lambda interpreter: interpreter.version)
def test_all_commands_work_on_every_interpreter(interpreter: Interpreter) -> None:
    with Home(interpreter.path) as home:
        home.infect()
        for words in (["--version"], ["-V"], ["version"]):
            assert home.run("nssh", *words) == Ran(0, OWN, "")
        for words in (["--help"], ["-h"], ["help"]):
            assert home.run("nssh", *words) == Ran(0, usage.text().encode(), "")
        for command in ("copy", "paste", "status", "infect"):
            assert home.run("nssh", command, "--help") == Ran(0, usage.text(command).encode(), "")
            assert home.run("nssh", "help", command).out.startswith(b"usage: nssh %s " % command.encode())
        assert told(home, 1)["state"] == "no-session"
        home.connect()
        assert home.run("nssh-remote", "relay", "start").status == 0
        with Laptop(server(home), {"text/plain": b"laptop"}):
            assert home.run("nssh", "paste").out == b"laptop"
            assert told(home, 0)["state"] == "alive"
        assert told(home, 1)["state"] == "no-laptop"
        ran = home.run("nssh", "infect", "self")
        assert (ran.status, ran.out) == (0, b"nssh: self: already has " + OWN)


# Status.


def test_status_tells_bus_time_and_round_trip_and_never_the_topic(home: Home) -> None:
    written = time.time() - 3723
    os.utime(home.state / "session", (written, written))
    with Laptop(server(home)):
        fields = told(home, 0)
        assert fields["alive"] is True
        assert fields["server"] == "relay"
        assert 0 < fields["rtt"] < 1.5
        assert 3723 <= fields["uptime"] < 3823
        assert fields["since"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(written))
        assert fields["problem"] == ""
        ran = home.run("nssh", "status")
        bus, laptop = ran.out.decode().splitlines()
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(written))
        assert bus.startswith(f"bus: the relay on this machine, since {when} (1h2m")
        assert laptop.startswith("a laptop answers in ")
        assert laptop.endswith(" ms")
        assert (ran.status, ran.err) == (0, "")
        assert home.run("nssh-remote", "status").status == 0
    assert [event for event in home.log() if event.get("kind") == "ping"] == [], "a look leaves no trace"


def test_a_laptop_that_does_not_answer_is_none(home: Home) -> None:
    """G3: it is connected, the relay counts it, and it is silent."""
    with Laptop(server(home)) as laptop:
        laptop.silent = True
        started = time.monotonic()
        fields = told(home, 1)
        assert time.monotonic() - started >= ping.ANSWER_WITHIN
        assert (fields["state"], fields["rtt"], fields["alive"]) == ("no-laptop", 0, False)
        assert fields["problem"] == NOBODY


def test_nobody_on_the_relay_is_told_at_once(home: Home) -> None:
    bus, laptop = home.run("nssh", "status").out.decode().splitlines()
    assert bus.startswith("bus: the relay on this machine, since ")
    assert laptop == NOBODY


def test_a_relay_that_does_not_run_is_left_alone(fresh: Home) -> None:
    fresh.connect()
    assert told(fresh, 1)["problem"] == NOBODY
    assert stop.listener_pid(str(fresh.state / "relay.sock")) == 0


def test_a_relay_that_hangs_is_a_bus_that_is_down(fresh: Home) -> None:
    fresh.connect()
    assert fresh.run("nssh-remote", "relay", "start").status == 0
    pid = stop.listener_pid(str(fresh.state / "relay.sock"))
    os.kill(pid, signal.SIGSTOP)
    try:
        ran = fresh.run("nssh", "status")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert ran.status == 1
    problem = ran.out.decode().splitlines()[1]
    assert problem.startswith("the bus is down: the nssh relay does not answer")
    assert problem.endswith("`nssh doctor <host>` on your laptop says more")


@pytest.mark.parametrize("text", ["server = 1\n", 'topic = "a b"\n', "\x00", 'server = "x"\ntopic = "t"\n', "\xff\n"])
def test_a_session_file_that_makes_no_sense_is_one_line(text: str, fresh: Home) -> None:
    fresh.connect()
    (fresh.state / "session").write_bytes(text.encode("latin-1"))
    fields = told(fresh, 1)
    assert (fields["state"], fields["server"]) == ("unreadable", "")
    assert fields["problem"].endswith(": connect again with `nssh <host>` from your laptop")
    ran = fresh.run("nssh", "status")
    assert (ran.status, ran.out.decode(), ran.err) == (1, fields["problem"] + "\n", "")


def test_a_session_file_that_is_a_directory_is_one_line(fresh: Home) -> None:
    (fresh.state / "session").mkdir(parents=True)
    fields = told(fresh, 1)
    assert fields["state"] == "unreadable"
    assert "session: Is a directory: connect again" in fields["problem"]


def test_without_a_session_it_says_how_to_get_one(fresh: Home) -> None:
    assert fresh.run("nssh", "status") == Ran(
        1, b"no nssh session on this host: connect with `nssh <host>` from your laptop\n", ""
    )


def test_status_on_ntfy(ntfy_server: ntfy.NtfyServer, fresh: Home) -> None:
    fresh.connect(ntfy_server.url)
    with Laptop(ntfy_server.url) as laptop:
        fields = told(fresh, 0)
        assert (fields["state"], fields["server"]) == ("alive", ntfy_server.url)
        assert 0 < fields["rtt"] < 1.5
        laptop.silent = True
        assert told(fresh, 1)["state"] == "no-laptop"
    assert fresh.run("nssh", "status").out.startswith(f"bus: {ntfy_server.url}, since ".encode())


def test_a_server_is_named_without_what_may_be_secret(ntfy_server: ntfy.NtfyServer, fresh: Home) -> None:
    fresh.connect(ntfy_server.url + "/secret?auth=secret", token="tk_secret")
    ran = fresh.run("nssh", "status")
    assert b"secret" not in ran.out
    assert ran.out.startswith(f"bus: {ntfy_server.url}, since ".encode())
    fresh.connect("https://me:secret@ntfy.example.com")
    ran = fresh.run("nssh", "status")
    assert (ran.status, b"secret" in ran.out, ran.out.count(b"\n")) == (1, False, 1)


def test_a_server_that_is_gone_is_a_bus_that_is_down(fresh: Home) -> None:
    fresh.connect("http://127.0.0.1:9")
    fields = told(fresh, 1)
    assert (fields["state"], fields["server"]) == ("bus-down", "http://127.0.0.1:9")
    assert "127.0.0.1:9" in fields["problem"]
    assert fresh.run("nssh", "status").out.count(b"\n") == 2


@pytest.mark.parametrize(
    ("status", "word"), [(401, "token"), (403, "does not allow"), (404, "404"), (429, "later"), (500, "500"), (0, "")]
)
def test_a_server_that_refuses_the_ping_is_a_bus_that_is_down(status: int, word: str, fresh: Home) -> None:
    with ScriptedServer(lambda _: answer(status) if status else None) as scripted:
        fresh.connect(scripted.url)
        fields = told(fresh, 1)
        assert fields["state"] == "bus-down"
        assert word in fields["problem"]
        assert len(scripted.published) == 1, "it is not tried again"


PONG = message(json.dumps({"kind": "pong", "id": "another"}))
NONSENSE = [PONG, message("x"), message("[" * 5000), b'{"event":"message","message":7}\n', b"[]\n", b"\xff\n", b"\n"]


@pytest.mark.parametrize(
    ("first", "state"), [(b"", "bus-down"), (b'{"event":"open"}\n', "no-laptop")], ids=["no-open", "open"]
)
def test_a_server_that_never_stops_talking_is_given_up(first: bytes, state: str, fresh: Home) -> None:
    """Each line comes within the time for one; only all of them together are too late."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if connection.recv(65536).startswith(b"POST"):
                connection.sendall(answer(200))
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + first)
            while not over.wait(0.02):
                connection.sendall(b"".join(NONSENSE))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        fresh.connect(f"http://127.0.0.1:{listener.getsockname()[1]}")
        fields = told(fresh, 1)
        assert (fields["state"], fields["alive"]) == (state, False)
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(30)


def test_a_token_that_can_t_be_sent_and_a_time_that_is_none_are_no_crash(
    ntfy_server: ntfy.NtfyServer, fresh: Home
) -> None:
    fresh.connect(ntfy_server.url, token="tk_sécret")
    os.utime(fresh.state / "session", (1 << 60, 1 << 60))
    fields = told(fresh, 1)
    assert fields["state"] == "bus-down"
    assert "token" in fields["problem"]
    assert "cret" not in fields["problem"]
    assert fresh.run("nssh", "status").out.count(b"\n") == 2


def test_on_a_machine_with_a_whole_nssh_its_own_status_follows(fresh: Home) -> None:
    fresh.real_tool("nssh", 'echo "real $*"; exit 7')
    ran = fresh.run("nssh", "status")
    assert (ran.status, ran.out.decode().splitlines()[1:]) == (7, ["real status"])
    assert fresh.run("nssh", "status", "--json") == Ran(7, b"real status --json\n", "")
    assert fresh.run("nssh", "otherhost", "-p", "22") == Ran(7, b"real otherhost -p 22\n", "")


def test_the_go_program_gets_only_what_is_not_ours(fresh: Home) -> None:
    """Its help knows no `nssh paste`, and its status shows the topic."""
    go = GoProgram(fresh.path, fresh.real, does="exit 7")
    fresh.connect()
    ran = fresh.run("nssh", "status")
    assert (ran.status, ran.out.count(b"\n"), TOPIC.encode() in ran.out) == (1, 2, False)
    assert told(fresh, 1)["state"] == "no-laptop"
    assert fresh.run("nssh", "--help").out == usage.text().encode()
    assert fresh.run("nssh", "--version").out == OWN
    assert go.calls == []
    assert fresh.run("nssh", "otherhost").status == 7
    assert fresh.run("nssh", "sweep", "--all", "otherhost").status == 7
    assert go.calls == ["nssh otherhost", "nssh sweep --all otherhost"]


# Version: what a Go laptop asks at each connect.


def ask_as_go(home: Home, *noted: str) -> list[str]:
    """Find nssh and its version in a login shell that reads its script from standard input, as the Go program does."""
    home.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number, line in enumerate(noted):
        path = home.state / f"nssh.nssh_{number}.jsonl"
        path.write_text(line + "\n")
        os.utime(path, (1000000000 + number, 1000000000 + number))
    # A start-up file must not change our PATH: bash -l reads /etc/profile, which sets it.
    script = f"""export PATH='{home.env["PATH"]}:/usr/bin:/bin'
command -v nssh
echo "version: $(nssh --version 2>/dev/null | head -1 | awk '{{print $2}}')"
cat <<'END'
the rest of the script
END
"""
    done = subprocess.run(
        ["bash", "-l", "-s"], input=script, env=home.env, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


def opened(release: object) -> str:
    return json.dumps({"ts": "2026-11-30T00:00:00Z", "event": "session-open", "version": release})


def test_a_go_laptop_is_told_its_own_release(fresh: Home) -> None:
    """It would offer to install itself for any other one, none included; see docs/shims.md."""
    found = [str(fresh.bin / "nssh")]
    rest = ["the rest of the script"]
    assert ask_as_go(fresh) == [*found, f"version: {version.GO_RELEASE}", *rest]
    assert ask_as_go(fresh, opened("v9.8.7")) == [*found, "version: v9.8.7", *rest]
    newest = "\n".join([opened("v1.0.0"), opened("v2.6.0"), '{"event":"msg-send"}'])
    assert ask_as_go(fresh, opened("v9.9.9"), newest)[1] == "version: v2.6.0"


@pytest.mark.parametrize(
    "line", ["", "x", opened(""), opened(None), opened("v2.5"), opened("v1.2.3 x"), opened("v1.2.\u0663"), "\xff" * 99,
             '{"event":"session-open","version":"v1.2.3"', "[" * 9999 + '"session-open"', opened({}), opened("1.2.3")],
)  # fmt: skip
def test_a_log_of_go_s_that_makes_no_sense_is_passed_over(line: str, fresh: Home) -> None:
    assert ask_as_go(fresh, line)[1] == f"version: {version.GO_RELEASE}"


@given(st.binary(max_size=200) | st.builds(opened, st.text() | st.from_regex(r"v[0-9.x]{0,9}")).map(str.encode))
def test_whatever_a_log_holds_is_a_release_or_none(line: bytes) -> None:
    release = version._release(line)
    assert release == "" or (release.startswith("v") and release.count(".") == 2 and release.isascii())


def test_everybody_else_is_told_ours(fresh: Home) -> None:
    fresh.state.mkdir(mode=0o700, parents=True)
    (fresh.state / "nssh.nssh_0.jsonl").write_text(opened("v9.8.7"))
    assert fresh.run("nssh", "--version") == Ran(0, OWN, "")
    done = subprocess.run(["sh", "-c", "nssh --version | cat"], env=fresh.env, capture_output=True, check=True)
    assert done.stdout == OWN
    assert fresh.run("nssh-remote", "version").out == OWN


# The installation repairs itself.


def tree(path: Path) -> dict[str, bytes]:
    return {str(item.relative_to(path)): item.read_bytes() for item in sorted(path.rglob("*")) if item.is_file()}


def test_infect_self_puts_back_what_is_missing(fresh: Home) -> None:
    before = tree(fresh.path / ".local")
    (fresh.bin / "xclip").unlink()
    (fresh.bin / "wl-copy").write_bytes((fresh.bin / "wl-copy").read_bytes() + b"# edited\n")
    (fresh.data / "version").unlink()
    (fresh.data / stub.COMMAND).unlink()
    assert fresh.run("nssh", "infect", "self").out == b"nssh: self: installed " + OWN
    assert tree(fresh.path / ".local") == before
    assert fresh.infect().changed is False, "it is what the laptop would install"


def test_infect_self_says_what_the_installer_says(fresh: Home) -> None:
    (fresh.bin / "xclip").unlink()
    (fresh.bin / "xclip").write_text("#!/bin/sh\necho mine\n")
    with pytest.raises(RemoteError) as refused:
        fresh.infect()
    ran = fresh.run("nssh", "infect", "self")
    assert (ran.status, ran.out, ran.err) == (1, b"", f"nssh: {refused.value}\n".replace("the remote", "this machine"))
    assert fresh.run("nssh", "infect", "self", "--force").status == 0
    assert (fresh.bin / "xclip.nssh-saved").exists()
    assert fresh.run("nssh", "infect", "--force", "--remove", "self").status == 2
    ran = fresh.run("nssh", "infect", "--remove", "self")
    assert (ran.status, ran.out) == (0, b"nssh: self: removed\n")
    assert (fresh.bin / "xclip").read_text() == "#!/bin/sh\necho mine\n"
    assert not fresh.data.exists()
    assert not (fresh.bin / "nssh").exists()


def test_infect_self_works_where_nssh_is_somebody_s_own(fresh: Home) -> None:
    (fresh.bin / "nssh").write_text("#!/bin/sh\necho mine\n")
    assert fresh.run("nssh-remote", "infect", "self").status == 0
    assert (fresh.bin / "nssh").read_text() == "#!/bin/sh\necho mine\n"


@pytest.mark.parametrize("damage", ["edit", "remove", "garble"])
def test_a_damaged_library_is_not_installed_under_its_old_name(damage: str, fresh: Home) -> None:
    (module,) = fresh.data.glob("lib-*/nssh/remote/wayland.py")
    if damage == "remove":
        module.unlink()
    else:
        module.write_bytes(module.read_bytes() + (b"\xff" if damage == "garble" else b"# edited\n"))
    ran = fresh.run("nssh", "infect", "self")
    assert (ran.status, ran.out) == (1, b"")
    assert ran.err.endswith(" is damaged: run nssh infect <this host> on your own machine\n")
    assert fresh.infect().changed is True
    assert fresh.run("nssh", "infect", "self").status == 0


def test_status_still_works_while_another_shim_speaks(home: Home) -> None:
    """A topic has many messages, most of them for others."""
    with Laptop(server(home)):
        for number in range(50):
            assert Client(server(home)).request("POST", f"/{TOPIC}", (), b"x%d" % number).status == 200
        assert told(home, 0)["state"] == "alive"


def test_commands_take_no_session_s_input(fresh: Home) -> None:
    """`while read host; do nssh status; done` must not lose its lines."""
    done = subprocess.run(
        ["sh", "-c", "nssh status >/dev/null; nssh --version >/dev/null; nssh infect self >/dev/null 2>&1; cat"],
        input=b"left", env={**fresh.env, "PATH": f"{fresh.env['PATH']}:{os.path.dirname(shutil.which('cat') or '')}"},
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.stdout == b"left"


def test_removing_leaves_nothing_while_a_session_is_open(fresh: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop whose relay has ended starts the next one at once, for as long as there is a command for it."""
    fresh.connect()
    assert fresh.run("nssh-remote", "relay", "start").status == 0
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(fresh.path))
    end = stop.relay
    started = []

    def end_and_be_dialled(state: str) -> bool:
        ended = end(state)
        if (fresh.data / stub.COMMAND).exists():
            assert fresh.run("nssh-remote", "relay", "start").status == 0
            started.append(stop.listener_pid(str(fresh.state / "relay.sock")))
        return ended

    monkeypatch.setattr(stop, "relay", end_and_be_dialled)
    assert install.remove(install.InstallPaths(), lambda *_: None)
    assert not fresh.data.exists()
    assert not fresh.bin.exists()
    assert not fresh.state.exists()
    assert started == [], "a relay that nobody can find any more"


def test_a_relay_that_still_writes_is_waited_for(fresh: Home) -> None:
    """Its socket is gone before its last word is on the disk."""
    (fresh.state / "relay").mkdir(parents=True)
    over = threading.Event()

    def write() -> None:
        for number in range(200):
            with contextlib.suppress(FileNotFoundError):
                (fresh.state / "relay" / f"{number}").write_text("")
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not over.is_set():
            stop._remove_tree(str(fresh.state / "relay"))
            with contextlib.suppress(FileExistsError):
                (fresh.state / "relay").mkdir()
    finally:
        writer.join()
    assert stop.forget(str(fresh.state))
    assert not fresh.state.exists()
