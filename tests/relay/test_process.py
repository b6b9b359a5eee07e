"""The daemon as a process: starting (once), ending, dying, and the way in through standard input and output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nssh.relay.daemon import ensure_running
from nssh.relay.relay_paths import RelayError, RelayPaths
from nssh.wire.http import HttpError
from tests.relay.harness import LIMIT, Relay, accepted, eventually, relay_of, texts
from tests.wire.interpreters import INTERPRETERS

pytestmark = pytest.mark.real

HEALTH = b"GET /v1/health HTTP/1.1\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_every_interpreter_runs_it(interpreter: str) -> None:
    with relay_of(interpreter) as relay:
        first = relay.run("start")
        assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
        sent = relay.publish("t", b"\x00\xff", ("Filename", "clip.dat"), ("X-Message", '{"kind":"clip-write"}'))
        assert [event["id"] for event in relay.poll("t")] == [sent["id"]]
        dialled = subprocess.run(relay.argv("dial"), input=HEALTH, capture_output=True, check=True, timeout=LIMIT)
        assert dialled.stdout.endswith(b'{"healthy":true}\n')
        os.kill(relay.daemon(), signal.SIGTERM)
        eventually(lambda: not relay.daemons(), "SIGTERM did not end it")
        assert not relay.socket.exists()
        assert (relay.state / "relay/relay.log").read_text() == ""


def test_ten_starts_at_once_make_one_daemon(relay: Relay) -> None:
    starts = [subprocess.Popen(relay.argv("start"), stderr=subprocess.PIPE) for _ in range(10)]
    for start in starts:
        _, errors = start.communicate(timeout=60)
        assert (start.returncode, errors) == (0, b"")
    assert len(relay.daemons()) == 1


def test_ten_dials_at_once_with_a_stale_socket_make_one_daemon(relay: Relay) -> None:
    relay.serve()
    relay.end(signal.SIGKILL)
    assert relay.socket.is_socket()
    dials = [subprocess.Popen(relay.argv("dial"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(10)]
    for dialling in dials:
        output, _ = dialling.communicate(HEALTH, timeout=60)
        assert output.endswith(b'{"healthy":true}\n')
        assert dialling.returncode == 0
    assert len(relay.daemons()) == 1


def test_the_daemon_is_cut_loose(relay: Relay) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)  # noqa: FBT003  (as a careless parent leaves it)
    subprocess.run(
        relay.argv("start"),
        check=True,
        timeout=LIMIT,
        close_fds=False,
        cwd=relay.state,
        env={"SECRET": "x", "HOME": "/"},
    )
    os.close(write)
    assert os.read(read, 1) == b"", "the daemon holds a descriptor of ours open"
    os.close(read)
    pid = relay.daemon()
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
    for fd in (1, 2):
        assert Path(f"/proc/{pid}/fd/{fd}").readlink() == relay.state / "relay/relay.log"
    assert b"SECRET" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_a_second_server_in_the_foreground_is_refused(relay: Relay) -> None:
    relay.serve()
    result = relay.run("serve", "--foreground")
    assert result.returncode == 1
    assert result.stderr.startswith("nssh relay: another relay is running in ")


def test_a_relay_that_hangs_is_named(relay: Relay) -> None:
    relay.serve()
    assert relay.process is not None
    relay.process.send_signal(signal.SIGSTOP)
    result = relay.run("start")
    assert result.returncode == 1
    assert (
        result.stderr == f"nssh relay: the nssh relay (PID {relay.process.pid}) does not answer; end it and try again\n"
    )


def test_it_ends_when_idle_but_not_under_a_connection(relay: Relay) -> None:
    relay.serve("--idle", "0.2")
    assert relay.process is not None
    with relay.client() as client:
        stream = client.stream("/t/json")
        assert stream.line(float("inf"))
        with pytest.raises(subprocess.TimeoutExpired):
            relay.process.wait(1.0)
    assert relay.process.wait(LIMIT) == 0
    assert not relay.socket.exists()


def test_a_start_meets_an_idle_end(relay: Relay) -> None:
    for _ in range(15):
        result = relay.run("dial", "--idle", "0.02")
        assert (result.returncode, result.stderr) == (0, "")


def test_a_lost_socket_comes_back(relay: Relay) -> None:
    relay.serve("--idle", "0.5")
    with relay.raw():
        relay.socket.unlink()
        eventually(relay.socket.exists, "the socket did not come back")
        relay.publish("t", b"x")


def test_it_ends_when_its_directory_was_removed(relay: Relay) -> None:
    relay.serve("--idle", "0.5")
    (relay.state / "relay").rename(relay.state / "gone")
    assert relay.process is not None
    with relay.raw():
        assert relay.process.wait(LIMIT) == 0


def test_a_damaged_spool_is_put_aside(relay: Relay) -> None:
    relay.serve()
    relay.publish("t", b"x")
    relay.end()
    (relay.state / "relay/spool.db").write_bytes(b"this is no database" * 1000)
    relay.serve()
    assert relay.poll("t") == []
    assert (relay.state / "relay/spool.db.bad").exists()


def test_messages_and_files_expire(relay: Relay) -> None:
    relay.serve("--retention", "0.5")
    relay.publish("t", b"x", ("Filename", "a"))
    relay.end()

    def is_gone() -> bool:
        relay.serve("--retention", "0.5")
        events = relay.poll("t")
        relay.end()
        return not events

    eventually(is_gone, "the message did not expire")
    assert list((relay.state / "relay/files").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_acknowledged_survives_a_death_at_any_moment(relay: Relay, number: int) -> None:
    acknowledged: set[str] = set()
    for turn in range(3):
        relay.serve()
        enough = threading.Semaphore(0)

        def publish(worker: int, turn: int = turn, enough: threading.Semaphore = enough) -> list[str]:
            done: list[str] = []
            with relay.client() as client:
                while True:
                    text = f"{turn}-{worker}-{len(done)}"
                    headers = [("Filename", "clip.dat")] if len(done) % 5 == 4 else []
                    try:
                        answer = client.request("POST", "/t", [("X-Message", text), *headers], text.encode())
                    except (HttpError, OSError):
                        return done
                    assert accepted(answer)["message"] == text
                    done.append(text)
                    enough.release()

        with ThreadPoolExecutor(4) as pool:
            workers = [pool.submit(publish, worker) for worker in range(4)]
            for _ in range(100 * (turn + 1)):
                assert enough.acquire(timeout=LIMIT)
            relay.end(number)
            for worker in workers:
                acknowledged.update(worker.result(LIMIT))
    relay.serve()
    events = relay.poll("t")
    stored = texts(events)
    assert acknowledged <= set(stored)
    assert len(stored) == len(set(stored)) <= len(acknowledged) + 12
    files = {path.name for path in (relay.state / "relay/files").iterdir()}
    assert files == {event["id"] for event in events if "attachment" in event}


@pytest.mark.parametrize("size", [8 << 20])
def test_a_dial_carries_large_bodies_both_ways_with_both_ends_closing_in_turn(relay: Relay, size: int) -> None:
    body = os.urandom(size)
    put = b"PUT /t HTTP/1.1\r\nFilename: a.bin\r\nContent-Length: %d\r\n\r\n" % size
    sent = subprocess.run(relay.argv("dial"), input=put + body, capture_output=True, check=True, timeout=60)
    assert sent.stdout.startswith(b"HTTP/1.1 200 ")
    identity = relay.poll("t")[0]["id"].encode()
    get = b"GET /file/%s HTTP/1.1\r\n\r\n" % identity
    got = subprocess.run(relay.argv("dial"), input=get * 2, capture_output=True, check=True, timeout=60)
    assert got.stdout.count(b"HTTP/1.1 200 ") == 2
    assert got.stdout.endswith(body)
    assert got.stderr == b""


def test_a_dial_ends_when_the_relay_does_though_its_input_stays_open(relay: Relay) -> None:
    relay.serve()
    with subprocess.Popen(relay.argv("dial"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as dialling:
        assert dialling.stdin
        assert dialling.stdout
        dialling.stdin.write(b"GET /t/json HTTP/1.1\r\n\r\n")
        dialling.stdin.flush()
        assert dialling.stdout.readline().startswith(b"HTTP/1.1 200")
        relay.end(signal.SIGKILL)
        assert dialling.wait(LIMIT) == 0


def test_a_dialled_stream_is_gone_when_its_input_ends(relay: Relay) -> None:
    relay.serve()
    with subprocess.Popen(relay.argv("dial"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as dialling:
        assert dialling.stdin
        assert dialling.stdout
        dialling.stdin.write(b"GET /t/json HTTP/1.1\r\n\r\n")
        dialling.stdin.flush()
        eventually(lambda: relay.publish("t", b"x")["subscribers"] == 1, "no subscription")
        dialling.stdin.close()
        assert dialling.wait(LIMIT) == 0
    assert relay.publish("t", b"x")["subscribers"] == 0


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "a command is missing"),
        (["stop"], "unknown command"),
        (["start", "--wat"], "unknown option --wat"),
        (["start", "--state"], "--state needs a value"),
        (["serve", "--idle", "soon"], "--idle needs a number"),
    ],
)
def test_wrong_usage_is_said(relay: Relay, argv: list[str], text: str) -> None:
    program = relay.argv("x")[:4]
    result = subprocess.run([*program, *argv], capture_output=True, text=True, check=False, timeout=LIMIT)
    assert result.returncode == 2
    assert result.stderr.startswith(f"nssh relay: {text}")


def test_a_daemon_that_dies_at_its_start_is_started_once_and_told_by_its_last_words(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "python"
    program.write_text(
        f"#!/bin/sh\necho start >> {tmp_path}/starts\nprintf 'Traceback\\nBoom: \\033broken\\n\\n' >&2\n"
    )
    program.chmod(0o755)
    places = RelayPaths(str(relay.state))
    places.make()
    Path(places.log).write_text("an error of yesterday\n")
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(RelayError) as failure:
        ensure_running(places)
    assert str(failure.value) == f"the nssh relay did not start (Boom: ?broken): see {places.log}"
    assert (tmp_path / "starts").read_text() == "start\n"


HANGING = "main._make_server = lambda *_: time.sleep(600)"


@pytest.mark.parametrize(("sabotage", "word", "status"), [(HANGING, b"", -signal.SIGALRM), ("", b"ready\n", 0)])
def test_a_daemon_that_hangs_at_its_start_is_ended_and_no_other(
    relay: Relay, sabotage: str, word: bytes, status: int
) -> None:
    """Nobody who waited for it is there any more, and while it is there it keeps all others from starting."""
    code = f"""if True:
        import sys, time
        sys.path.insert(0, sys.argv.pop(1))
        from nssh.relay import main
        main.STARTUP = 1.0
        {sabotage}
        main.main(sys.argv[1:])
    """
    root = Path(__file__).resolve().parents[2]
    argv = [sys.executable, "-I", "-S", "-c", code, str(root), *relay.argv("serve", "--detached", "--idle", "1.5")[4:]]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=False, timeout=LIMIT)
    assert (done.returncode, done.stdout) == (status, word)
