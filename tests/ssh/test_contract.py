"""What every connection must do, whichever way it goes: one suite, three ways, a real sshd."""

from __future__ import annotations

import hashlib
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from nssh.base.errors import ConnectError
from nssh.ssh import framing
from tests.lab.ports import free_port
from tests.lab.sshd import DEADLINE, Sshd, wait_until
from tests.ssh.conftest import WAYS, connected, read_exactly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nssh.ssh.connection import ByteStream, Connection

pytestmark = pytest.mark.real

EIGHT_MIB = 8 << 20


@pytest.fixture(params=WAYS)
def connection(request: pytest.FixtureRequest, remote: Sshd) -> Iterator[Connection]:
    with connected(request.param, remote) as opened:
        yield opened


@pytest.fixture
def echo() -> Iterator[int]:
    """A TCP server on loopback that sends back what it gets; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    peer = server.accept()[0]
                except OSError:
                    return
                with peer:
                    while data := peer.recv(65536):
                        peer.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE)


def test_run_gives_status_and_both_outputs(connection: Connection) -> None:
    done = connection.run("echo out; echo err >&2; exit 7")
    assert (done.status, done.stdout, done.stderr, done.truncated) == (7, b"out\n", b"err\n", False)


def test_run_feeds_input_and_ends_it(connection: Connection) -> None:
    assert connection.run("cat", stdin=b"a\0b\xff\n").stdout == b"a\0b\xff\n"
    assert connection.run("cat").stdout == b""


def test_run_carries_more_input_than_any_buffer_holds(connection: Connection) -> None:
    data = os.urandom(EIGHT_MIB)
    assert connection.run("cat", stdin=data, limit=EIGHT_MIB).stdout == data


def test_a_command_that_does_not_read_its_input_is_no_error(connection: Connection) -> None:
    done = connection.run("echo done", stdin=b"x" * EIGHT_MIB)
    assert (done.status, done.stdout) == (0, b"done\n")


def test_run_cuts_both_outputs_at_the_limit(connection: Connection) -> None:
    done = connection.run("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 3", limit=1000)
    assert (done.status, len(done.stdout), len(done.stderr), done.truncated) == (3, 1000, 1000, True)


def test_output_of_exactly_the_limit_is_whole(connection: Connection) -> None:
    assert connection.run("printf 12345", limit=5) == (0, b"12345", b"", False)


def test_status_255_of_a_command_is_no_failure_of_ssh(connection: Connection) -> None:
    assert connection.run("echo so; exit 255").status == 255


def test_a_command_ended_by_a_signal_has_status_255(connection: Connection) -> None:
    assert connection.run("kill -9 $$").status == 255


def test_run_gives_up_at_its_deadline_and_the_connection_goes_on(connection: Connection) -> None:
    before = time.monotonic()
    with pytest.raises(ConnectError) as caught:
        connection.run("exec sleep 60", timeout=1.5)
    assert caught.value.kind == "timeout"
    assert "devbox" in str(caught.value)
    assert time.monotonic() - before < 30
    assert connection.run("echo again").stdout == b"again\n"


def test_commands_run_side_by_side(connection: Connection) -> None:
    results: dict[int, bytes] = {}

    def run(number: int) -> None:
        results[number] = connection.run(f"echo {number}", stdin=b"x" * 100000).stdout

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert results == {number: b"%d\n" % number for number in range(6)}


def test_commands_that_ignore_their_input_do_not_end_the_connection(connection: Connection) -> None:
    """Data for a channel that the remote has just closed makes OpenSSH end the whole connection."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(1 if connection.name == "batch" else 20):
                assert connection.run("echo x", stdin=bytes(100_000)).stdout == b"x\n"
        except (AssertionError, ConnectError) as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * DEADLINE)
    assert failures == []


@pytest.mark.parametrize("way", WAYS)
def test_keys_are_exchanged_again_in_the_middle_of_a_stream(way: str) -> None:
    with Sshd(options=["RekeyLimit 1M"]) as remote, connected(way, remote) as connection:
        stream = connection.open_stream("exec cat")
        stream.settimeout(DEADLINE)
        data = os.urandom(EIGHT_MIB)
        sender = threading.Thread(target=stream.sendall, args=(data,))
        sender.start()
        assert read_exactly(stream.recv, len(data)) == data
        sender.join(DEADLINE)
        stream.close()


def test_a_stream_carries_8_mib_both_ways_at_once(connection: Connection) -> None:
    stream = connection.open_stream("exec cat")
    data = os.urandom(EIGHT_MIB)
    sender = threading.Thread(target=stream.sendall, args=(data,))
    sender.start()
    received = read_exactly(stream.recv, len(data))
    sender.join(DEADLINE)
    stream.close()
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


def test_a_stream_ends_when_its_command_does(connection: Connection) -> None:
    stream = connection.open_stream("echo last words")
    stream.settimeout(DEADLINE)
    assert read_exactly(stream.recv, 1000) == b"last words\n"
    assert stream.recv(10) == b""
    stream.close()
    stream.close()


def test_a_stream_is_not_stalled_by_stderr(connection: Connection) -> None:
    stream = connection.open_stream("head -c 6000000 /dev/zero >&2; echo here")
    stream.settimeout(DEADLINE)
    assert read_exactly(stream.recv, 5) == b"here\n"
    stream.close()


def test_recv_times_out_and_the_stream_goes_on(connection: Connection) -> None:
    stream = connection.open_stream("exec cat")
    stream.settimeout(0.05)
    with pytest.raises(TimeoutError):
        stream.recv(1)
    stream.settimeout(DEADLINE)
    stream.sendall(b"x")
    assert stream.recv(10) == b"x"
    stream.close()


def test_sendall_times_out_when_nobody_reads(connection: Connection) -> None:
    stream = connection.open_stream("exec sleep 60")
    stream.settimeout(1.0)
    with pytest.raises(TimeoutError):
        stream.sendall(bytes(64 << 20))
    stream.close()


def test_fileno_tells_when_there_is_something_to_read(connection: Connection) -> None:
    stream = connection.open_stream("read x; echo $x; exec sleep 60")
    assert not select.select([stream.fileno()], [], [], 0)[0]
    stream.sendall(b"word\n")
    assert select.select([stream.fileno()], [], [], DEADLINE)[0]
    stream.settimeout(0)
    assert stream.recv(10) == b"word\n"
    stream.close()


def test_close_wakes_a_thread_that_waits_for_bytes(connection: Connection) -> None:
    stream = connection.open_stream("exec sleep 60")
    received: list[bytes] = []
    waiting = threading.Thread(target=lambda: received.append(stream.recv(1)))
    waiting.start()
    stream.close()
    waiting.join(DEADLINE)
    assert received == [b""]


def test_close_wakes_a_thread_that_can_not_send(connection: Connection) -> None:
    stream = connection.open_stream("exec sleep 60")
    failures: list[type] = []

    def send() -> None:
        try:
            stream.sendall(bytes(64 << 20))
        except OSError as error:
            failures.append(type(error))

    sending = threading.Thread(target=send)
    sending.start()
    stream.close()
    sending.join(DEADLINE)
    assert len(failures) == 1


def test_closing_a_stream_ends_its_command(connection: Connection, remote: Sshd) -> None:
    stream = connection.open_stream("echo up; exec cat")
    assert stream.recv(10) == b"up\n"
    wait_until(lambda: remote.runs("cat"), "the command runs")
    stream.close()
    wait_until(lambda: not remote.runs("cat"), "the command is gone")


def test_closing_the_connection_ends_its_streams(connection: Connection) -> None:
    stream = connection.open_stream("exec cat")
    connection.close()
    connection.close()
    stream.settimeout(DEADLINE)
    assert stream.recv(1) == b""
    assert not connection.alive()
    for use in (lambda: connection.run("echo x"), lambda: connection.open_stream("cat")):
        with pytest.raises(ConnectError) as caught:
            use()
        assert caught.value.kind == "closed"


def test_a_port_of_the_remote_is_reached(connection: Connection, echo: int) -> None:
    stream: ByteStream = connection.open_port("127.0.0.1", echo)
    data = os.urandom(1 << 20)
    sender = threading.Thread(target=stream.sendall, args=(data,))
    sender.start()
    assert read_exactly(stream.recv, len(data)) == data
    sender.join(DEADLINE)
    stream.close()


def test_a_port_where_nobody_listens_is_refused(connection: Connection) -> None:
    port = free_port()
    if connection.name == "batch":
        stream = connection.open_port("127.0.0.1", port)
        stream.settimeout(DEADLINE)
        assert stream.recv(1) == b""
        stream.close()
        return
    with pytest.raises(ConnectError) as caught:
        connection.open_port("127.0.0.1", port)
    assert caught.value.kind == "refused"
    assert connection.alive()


def test_alive_tells_a_live_connection(connection: Connection) -> None:
    assert connection.alive()


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_dies_ends_streams_and_commands_at_once(way: str) -> None:
    with Sshd() as remote, connected(way, remote) as connection:
        stream = connection.open_stream("echo up; exec cat")
        assert stream.recv(10) == b"up\n"
        failures: list[ConnectError] = []

        def run() -> None:
            try:
                connection.run("touch started; exec sleep 60", timeout=60)
            except ConnectError as error:
                failures.append(error)

        running = threading.Thread(target=run)
        running.start()
        wait_until(lambda: remote.runs("sleep"), "the command runs")
        remote.stop()
        stream.settimeout(DEADLINE)
        assert stream.recv(10) == b""
        running.join(DEADLINE)
        assert [error.kind for error in failures] == ["closed"]
        with pytest.raises(ConnectError) as caught:
            connection.run("echo x", timeout=DEADLINE)
        assert caught.value.kind in {"closed", "refused"}
        stream.close()


@pytest.mark.parametrize("way", WAYS)
def test_without_forwarding_commands_and_streams_still_work(way: str) -> None:
    with Sshd(options=["AllowTcpForwarding no"]) as remote, connected(way, remote) as connection:
        assert connection.run("echo x").stdout == b"x\n"
        stream = connection.open_stream("exec cat")
        stream.sendall(b"abc")
        assert stream.recv(10) == b"abc"
        stream.close()
        if way != "batch":
            with pytest.raises(ConnectError) as caught:
                connection.open_port("127.0.0.1", 9)
            assert caught.value.kind == "refused"


@pytest.mark.parametrize("way", WAYS)
def test_a_remote_that_hangs_never_blocks_close(way: str) -> None:
    with Sshd() as remote, connected(way, remote) as connection:
        stream = connection.open_stream("echo up; exec cat")
        assert stream.recv(10) == b"up\n"
        sessions = remote.sessions()
        for session in sessions:
            session.suspend()
        try:
            before = time.monotonic()
            stream.close()
            connection.close()
            assert time.monotonic() - before < DEADLINE
        finally:
            for session in sessions:
                session.resume()


def test_close_does_not_wait_for_a_jump_host_that_hangs() -> None:
    with Sshd(alias="bastion") as bastion, Sshd(client=bastion.client, alias="inner") as inner:
        bastion.client.host("inner", *bastion.client.options("inner"), "ProxyJump bastion")
        with connected("paramiko", inner) as connection:
            stream = connection.open_stream("exec cat")

            def send() -> None:
                with pytest.raises(OSError, match=r"closed|gone"):
                    stream.sendall(bytes(64 << 20))

            sessions = bastion.sessions()
            for session in sessions:
                session.suspend()
            try:
                sender = threading.Thread(target=send)
                sender.start()
                before = time.monotonic()
                stream.close()
                connection.close()
                assert time.monotonic() - before < DEADLINE
                sender.join(DEADLINE)
            finally:
                for session in sessions:
                    session.resume()


def test_closing_the_connection_ends_a_command_that_runs(connection: Connection, remote: Sshd) -> None:
    failures: list[ConnectError] = []

    def run() -> None:
        try:
            connection.run("exec sleep 61", timeout=60)
        except ConnectError as error:
            failures.append(error)

    running = threading.Thread(target=run)
    running.start()
    wait_until(lambda: remote.runs("61"), "the command runs")
    connection.close()
    running.join(DEADLINE)
    assert [error.kind for error in failures] == ["closed"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish", "tcsh"])
def test_a_framed_script_gets_through_any_login_shell_and_its_noise(way: str, shell: str) -> None:
    with Sshd(shell=shell) as remote:
        noise = 'echo "noise of a start-up file"; echo "more noise" >&2\n'
        for name in (
            ".profile",
            ".bashrc",
            ".bash_profile",
            ".zshenv",
            ".zshrc",
            ".tcshrc",
            ".config/fish/config.fish",
        ):
            remote.write_home(name, noise.replace(">&2", "") if name == ".tcshrc" else noise)
        with connected(way, remote) as connection:
            script = framing.pack(
                'IFS= read -r line; say line "$line"; say data "$(cat)"; say home "$HOME"; finish 5\n',
                lines=("a 'quoted' \"line\" $HOME `id` \\ !",),
                data=b"data\nnssh end\nmore",
            )
            done = connection.run(framing.BOOTSTRAP, stdin=script.stdin)
            answer = framing.unpack(script, done.stdout)
            assert answer.status == 5
            assert answer.fields["line"] == "a 'quoted' \"line\" $HOME `id` \\ !"
            assert answer.fields["home"] == os.fspath(remote.home)
            assert "more" in answer.lines
            if shell != "sh":
                assert b"noise of a start-up file" in done.stdout
            data = os.urandom(100_000)
            done = connection.run("cat > file", stdin=data)
            assert done.status == 0
            assert (remote.home / "file").read_bytes() == data
