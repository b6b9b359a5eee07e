from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from nssh.remote import stop, stub
from nssh.wire.http import Client
from tests.remote.support import TOPIC, Home, Interpreter, Laptop, Ran, interpreters, server

pytestmark = pytest.mark.real

PNG = b"\x89PNG\r\n\x1a\n"

HEAVY = {
    "typing", "dataclasses", "subprocess", "re", "pathlib", "argparse", "logging", "http", "http.client", "urllib",
    "urllib.parse", "enum", "contextlib", "json", "socket", "ssl", "threading", "selectors", "random", "tempfile",
    "functools", "collections", "asyncio", "email", "site", "shutil", "select", "datetime", "traceback", "base64",
    "sqlite3", "inspect",
}  # fmt: skip


@pytest.mark.parametrize("interpreter", interpreters(), ids=lambda interpreter: interpreter.version)
def test_the_main_job_on_every_interpreter(interpreter: Interpreter) -> None:
    image = PNG + os.urandom(8 << 20)
    text = "grüße\r\n\ttab \x1b[1m and no newline at the end".encode() + b"\xff\x00"
    with Home(interpreter.path) as home:
        home.infect()
        address = home.connect()
        early = home.run("xdg-open", "https://example.com/early")
        assert (early.status, early.err) == (0, "xdg-open: no laptop is connected; kept until your laptop is back\n")
        with Laptop(address, {"text/plain": text, "image/png": image}) as laptop:
            assert home.run("xdg-open", "https://example.com/?a=1&b=%20") == Ran(0, b"", "")
            assert home.run("sensible-browser", "http://example.com/") == Ran(0, b"", "")
            assert home.run("xclip", "-selection", "clipboard", "-i", stdin=text) == Ran(0, b"", "")
            assert home.run("xclip", "-sel", "c", "-t", "image/png", stdin=image) == Ran(0, b"", "")
            assert home.run("wl-copy", "two", "words") == Ran(0, b"", "")
            assert home.run("xclip", "-selection", "clipboard", "-o") == Ran(0, text, "")
            assert home.run("xclip", "-selection", "clipboard", "-t", "image/png", "-o") == Ran(0, image, "")
            assert home.run("wl-paste") == Ran(0, text + b"\n", "")
            assert home.run("wl-paste", "-n") == Ran(0, text, "")
            assert home.run("wl-paste", "--type", "image/png") == Ran(0, image, "")
            got = [(message.kind, message.url or message.mime, payload) for message, payload in laptop.wait(5)]
        assert got == [
            ("open", "https://example.com/?a=1&b=%20", b""),
            ("open", "http://example.com/", b""),
            ("clip-write", "text/plain", text),
            ("clip-write", "image/png", image),
            ("clip-write", "text/plain", b"two words"),
        ]
        assert len({message.id for message, _ in laptop.received}) == 5, "every envelope has an id of its own"
    sys.stderr.write(f"ran on Python {interpreter.version}: {interpreter.path}\n")


@pytest.mark.parametrize("interpreter", interpreters(), ids=lambda interpreter: interpreter.version)
def test_nothing_heavy_is_imported_on_the_way(interpreter: Interpreter) -> None:
    with Home(interpreter.path) as home:
        python = home.infect().python
        address = home.connect()
        assert home.run("nssh-remote", "relay", "start").status == 0
        with Laptop(address, {"text/plain": b"x", "image/png": PNG}):
            for line in (
                "xdg-open https://x.y/",
                "xclip -sel c -o",
                "xclip -sel c -t image/png -o",
                "wl-copy x",
                "wl-paste -l",
            ):
                argv = line.split()
                command = [python, "-IS", "-X", "importtime", str(home.bin / argv[0]), *argv[1:]]
                done = subprocess.run(command, capture_output=True, env=home.env, check=True)
                loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
                assert "nssh.remote.bus" in loaded
                assert loaded & HEAVY == set(), argv


def test_a_hundred_reads_in_a_row_lose_none(home: Home) -> None:
    with Laptop(server(home), {"text/plain": b"again"}):
        assert [home.run("xclip", "-sel", "c", "-o") for _ in range(100)] == [Ran(0, b"again", "")] * 100


@pytest.mark.parametrize("size", [1, 3000, 3029, 3030, 3071, 3072, 3073, 4096])
def test_text_of_every_size_arrives_whole_both_ways(size: int, home: Home) -> None:
    data = os.urandom(size)
    with Laptop(server(home), {"text/plain": data}) as laptop:
        assert home.run("xclip", "-sel", "c", stdin=data).status == 0
        assert laptop.wait()[0][1] == data
        assert home.run("xclip", "-sel", "c", "-o").out == data


def test_no_laptop_is_said_at_once(home: Home) -> None:
    env = {"NSSH_TIMEOUT": "600"}
    for argv in (["xclip", "-sel", "c", "-o"], ["wl-paste"]):
        ran = home.run(*argv, env=env)
        assert (ran.status, ran.out) == (1, b"")
        assert ran.err.startswith(f"{argv[0]}: no laptop is connected to this host")


def test_a_laptop_that_does_not_answer_is_waited_for_so_long_and_no_longer(home: Home) -> None:
    with Laptop(server(home)) as laptop:
        laptop.silent = True
        ran = home.run("xclip", "-sel", "c", "-o", env={"NSSH_TIMEOUT": "0.3"})
    assert ran == Ran(1, b"", "xclip: the laptop did not answer within 0.3 s\n")
    assert home.log()[-1]["event"] == "clip-read-timeout"


def test_a_laptops_error_is_shown_without_its_control_characters(home: Home) -> None:
    with Laptop(server(home), {"text/plain": b"ERROR: no\x1b[2Jclip\nboard"}):
        ran = home.run("xclip", "-sel", "c", "-o")
    assert ran == Ran(1, b"", "xclip: no [2Jclip board\n")


def test_a_type_that_the_laptop_answers_with_text_is_not_passed_off_as_it(home: Home) -> None:
    with Laptop(server(home), {"image/jpeg": b"plain text"}) as laptop:
        laptop.answers_as = "text/plain"
        assert home.run("xclip", "-sel", "c", "-o", "-t", "image/jpeg") == Ran(
            1, b"", "Error: target image/jpeg not available\n"
        )


@pytest.mark.parametrize("mime", ["text/html", "text/rtf", "image/jpeg", "image/webp", "image/avif", "image/svg+xml"])
def test_text_that_a_go_laptop_calls_what_was_asked_for_is_not_passed_on(mime: str, home: Home) -> None:
    """It answers any type but PNG with its plain text, and declares that as the type that it was asked for."""
    with Laptop(server(home), {mime: "<b>grüße</b>\n".encode()}):
        missing = f"Error: target {mime} not available\n"
        assert home.run("xclip", "-sel", "c", "-o", "-t", mime) == Ran(1, b"", missing)
        assert home.run("wl-paste", "-t", mime) == Ran(1, b"", "No suitable type of content copied\n")
        assert home.run("nssh", "paste", "-t", mime).status == 1
        # A Go laptop may have joined a session of ours: what can't be an image is none there, either.
        home.connect(features=("targets", "ids", "types"))
        if mime not in ("text/html", "text/rtf", "image/svg+xml"):
            assert home.run("xclip", "-sel", "c", "-o", "-t", mime) == Ran(1, b"", missing)


def test_text_from_a_go_laptop_that_has_joined_is_text_if_anything_was_asked_for(home: Home) -> None:
    home.connect(features=("types",))
    with Laptop(server(home), {"*/*": b"some text", "image/*": b"some text"}):
        assert home.run("wl-paste") == Ran(0, b"some text\n", "")
        assert home.run("wl-paste", "-t", "image") == Ran(1, b"", "No suitable type of content copied\n")


def test_an_image_of_another_type_than_was_asked_for_is_not_passed_on(home: Home) -> None:
    with Laptop(server(home), {"image/jpeg": PNG, "image/png": b"BM\x1a\0\0\0\0\0\0\0\x1a"}):
        for mime in ("image/jpeg", "image/png"):
            ran = home.run("xclip", "-sel", "c", "-o", "-t", mime)
            assert ran == Ran(1, b"", f"Error: target {mime} not available\n")


@pytest.mark.parametrize("features", [(), ("types",)])
def test_images_are_passed_on_whatever_their_name(features: tuple[str, ...], home: Home) -> None:
    jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF"
    images = {"image/png": PNG, "image/jpeg": jpeg, "image/jpg": jpeg, "image/avif": b"\0\0\0\x20ftypavif"}
    home.connect(features=features)
    with Laptop(server(home), images):
        for mime, image in images.items():
            assert home.run("xclip", "-sel", "c", "-o", "-t", mime) == Ran(0, image, "")


def test_targets_are_asked_for_only_if_the_session_has_the_feature(home: Home) -> None:
    with Laptop(server(home), {"TARGETS": b"text/html\ntext/plain\nimage/jpeg\n\x1b]0;x\x07\n"}) as laptop:
        fixed = home.run("xclip", "-selection", "clipboard", "-t", "TARGETS", "-o").out.decode().split()
        assert fixed == [
            "TARGETS",
            "UTF8_STRING",
            "STRING",
            "TEXT",
            "text/plain;charset=utf-8",
            "text/plain",
            "image/png",
        ]
        listed = home.run("wl-paste", "--list-types").out.decode().split()
        text = ["text/plain", "text/plain;charset=utf-8", "TEXT", "STRING", "UTF8_STRING"]
        assert listed == [*text, "image/png"]
        assert laptop.requests == []
        laptop.answers_as = "text/plain"
        home.connect(features=("targets",))
        asked = home.run("xclip", "-selection", "clipboard", "-t", "TARGETS", "-o").out.decode().split()
        atoms = "TARGETS UTF8_STRING STRING TEXT text/plain;charset=utf-8 text/plain text/html image/jpeg"
        assert asked == atoms.split()
        assert home.run("wl-paste", "-l").out.decode().split() == [*text, "text/html", "image/jpeg"]
        assert [request.mime for request in laptop.requests] == ["TARGETS", "TARGETS"]


@pytest.mark.parametrize(
    ("argv", "stdin", "copied"),
    [
        (["xclip", "-se", "clip"], b"a\n", b"a\n"),
        (["xclip", "-selection", "CLIPBOARD", "-in", "-quiet"], b"a", b"a"),
        (["xclip", "-sel", "clip", "-r"], b"a\n\n", b"a\n"),
        (["xclip", "-sel", "c", "-l", "1", "-t", "UTF8_STRING"], b"a", b"a"),
        (["xclip", "-sel", "c", "one", "two"], b"no", b"12"),
        (["wl-copy"], b"a\n", b"a\n"),
        (["wl-copy", "-n"], b"a\n\n", b"a\n"),
        (["wl-copy", "-nft", "text/plain;charset=utf-8"], b"a\n", b"a"),
        (["wl-copy", "--type=text/plain", "--", "-x", "y"], b"no", b"-x y"),
        (["wl-copy", "--paste", "ä"], b"no", "ä".encode()),
    ],
)
def test_what_is_copied_is_what_the_real_tool_would_have_copied(
    argv: list[str], stdin: bytes, copied: bytes, home: Home
) -> None:
    (home.path / "one").write_bytes(b"1")
    (home.path / "two").write_bytes(b"2")
    with Laptop(server(home)) as laptop:
        assert home.run(*argv, stdin=stdin) == Ran(0, b"", "")
        ((message, payload),) = laptop.wait()
    assert (message.mime, payload) == ("text/plain", copied)


def test_filter_passes_the_input_on(home: Home) -> None:
    with Laptop(server(home)) as laptop:
        assert home.run("xclip", "-sel", "c", "-f", stdin=b"a\n") == Ran(0, b"a\n", "")
        assert laptop.wait()[0][1] == b"a\n"


def test_the_last_newline_can_be_cut_from_the_output_too(home: Home) -> None:
    with Laptop(server(home), {"text/plain": b"a\n\n"}):
        assert home.run("xclip", "-o", "-r", "-sel", "c").out == b"a\n"


def test_nothing_to_copy_leaves_the_clipboard_alone_and_says_so(home: Home) -> None:
    with Laptop(server(home)) as laptop:
        ran = home.run("xclip", "-sel", "c")
        assert (ran.status, ran.err) == (0, "xclip: nothing to copy; the laptop's clipboard stays as it is\n")
        assert home.log()[-1]["event"] == "clip-write-empty"
        assert home.run("wl-copy", "--clear").status == 1
        home.run("xdg-open", "https://x.y/")
        assert [message.kind for message, _ in laptop.wait()] == ["open"]


def test_an_empty_answer(home: Home) -> None:
    with Laptop(server(home), {"text/plain": b""}):
        assert home.run("xclip", "-sel", "c", "-o") == Ran(1, b"", "Error: target STRING not available\n")
        assert home.run("wl-paste") == Ran(1, b"", "No selection\n")
        assert home.run("xsel", "-b", "-o") == Ran(0, b"", "")
        home.connect(features=("types",))
        assert home.run("xclip", "-sel", "c", "-o") == Ran(0, b"", "")
        assert home.run("wl-paste", "-t", "text") == Ran(0, b"\n", "")
    assert home.log()[-1]["event"] == "clip-read-empty"


def test_input_beyond_the_limit_is_refused(home: Home) -> None:
    ran = home.run("xclip", "-sel", "c", stdin=b"x" * ((64 << 20) + 1))
    assert ran == Ran(1, b"", "xclip: the input is larger than 64 MiB, the most that can be sent\n")
    home.connect(features=("types", "copy-limit=5"))
    assert home.run("wl-copy", "123456").err == "wl-copy: the input is larger than 5 bytes, the most that can be sent\n"
    ran = home.run("xclip", "-sel", "c", "/nowhere")
    assert ran == Ran(1, b"", "xclip: /nowhere: No such file or directory\n")


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("HTTPS://Example.com/a b", "HTTPS://Example.com/a%20b"),
        (b"http://x.y/\xff\xfe".decode("utf-8", "surrogateescape"), "http://x.y/%FF%FE"),
        ("https://x.y/ü?q=\"'$(id)`", "https://x.y/ü?q=\"'$(id)`"),
        ("https://x.y/" + "a" * 9000, "https://x.y/" + "a" * 9000),
    ],
)
def test_urls_travel_as_they_are_as_far_as_they_can(url: str, sent: str, home: Home) -> None:
    with Laptop(server(home)) as laptop:
        assert home.run("xdg-open", url) == Ran(0, b"", "")
        assert laptop.wait()[0][0].url == sent


def test_urls_that_can_t_travel_are_refused(home: Home) -> None:
    assert home.run("xdg-open", "https://x.y/\n") == Ran(4, b"", "xdg-open: the URL holds control characters\n")
    assert "longer than" in home.run("xdg-open", "https://x.y/" + "a" * 20000).err


def test_a_relay_that_was_killed_is_started_again(home: Home) -> None:
    pid = stop.listener_pid(str(home.state / "relay.sock"))
    os.kill(pid, signal.SIGKILL)
    ran = home.run("xclip", "-sel", "c", stdin=b"x")
    assert (ran.status, ran.err) == (0, "xclip: no laptop is connected; kept until your laptop is back\n")
    os.kill(stop.listener_pid(str(home.state / "relay.sock")), signal.SIGKILL)
    assert home.run("xclip", "-sel", "c", "-o").err.startswith("xclip: no laptop is connected to this host")
    assert stop.listener_pid(str(home.state / "relay.sock")) not in {0, pid}


def test_without_a_session_it_says_what_to_do() -> None:
    with Home() as home:
        home.infect()
        for argv, status in (
            (["xdg-open", "https://x.y/"], 4),
            (["xclip", "-sel", "c", "-o"], 1),
            (["wl-copy", "x"], 1),
        ):
            ran = home.run(*argv)
            assert (ran.status, ran.out) == (status, b"")
            assert ran.err == f"{argv[0]}: no nssh session on this host: connect with `nssh <host>` from your laptop\n"
        assert not home.state.exists()
        # On a desktop without a session, its own tools serve.
        home.real_tool("xclip", 'echo "real $*"')
        assert home.run("xclip", "-sel", "c", "-o", env={"DISPLAY": ":0"}) == Ran(0, b"real -sel c -o\n", "")


def test_the_log_has_what_happened_and_no_secrets(home: Home) -> None:
    with Laptop(server(home), {"text/plain": b"SECRET-CLIP"}):
        home.run("xdg-open", "https://user:SECRET-PASS@example.com/SECRET-PATH?SECRET-QUERY")
        home.run("wl-copy", "SECRET-ARG")
        home.run("xclip", "-sel", "c", "-o")
        home.run("xclip", "-SECRET-FLAG", "-sel", "c", "-t", "SECRET/type\n", "-o")
    path = home.state / "log.jsonl"
    text = path.read_text()
    assert "SECRET-" not in text
    assert TOPIC not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    events = [json.loads(line) for line in text.splitlines()]
    for event in events:
        assert {"ts", "event", "side", "pid"} <= event.keys()
        time.strptime(event["ts"].partition(".")[0], "%Y-%m-%dT%H:%M:%S")
        assert event["ts"].endswith("Z")
    opened = next(event for event in reversed(events) if event.get("kind") == "open")
    assert opened["url"] == "https://example.com"
    last = [event["event"] for event in events if event["side"] == "xclip"][-4:]
    assert last[:3] == ["shim-start", "msg-send", "msg-recv"]


def test_the_log_is_set_aside_when_it_has_grown(home: Home) -> None:
    path = home.state / "log.jsonl"
    path.write_text('{"event":"filler"}\n' * 60000)
    home.run("xdg-open", "https://x.y/")
    assert path.stat().st_size < 4096
    assert (home.state / "log.jsonl.1").stat().st_size > 1 << 20


def test_a_log_that_can_t_be_written_fails_nothing(home: Home) -> None:
    path = home.state / "log.jsonl"
    path.unlink(missing_ok=True)
    target = home.path / "elsewhere"
    target.write_text("")
    with Laptop(server(home)):
        path.mkdir()
        assert home.run("xdg-open", "https://x.y/") == Ran(0, b"", "")
        path.rmdir()
        path.symlink_to(target)
        assert home.run("xdg-open", "https://x.y/") == Ran(0, b"", "")
        path.unlink()
        os.mkfifo(path)
        assert home.run("xdg-open", "https://x.y/") == Ran(0, b"", "")
        path.unlink()
    assert target.read_text() == ""


def test_an_image_is_not_passed_off_as_text(home: Home) -> None:
    with Laptop(server(home), {"text/plain": PNG}) as laptop:
        laptop.answers_as = "image/png"
        assert home.run("xclip", "-sel", "c", "-o") == Ran(1, b"", "Error: target STRING not available\n")


@pytest.mark.parametrize("mime", ["image/../../../evil", "image/", "image/\x1b[2J"])
def test_no_type_that_a_laptop_names_becomes_part_of_a_path(mime: str, home: Home) -> None:
    home.connect(features=("types",))
    with Laptop(server(home), {"image/*": PNG}) as laptop:
        laptop.answers_as = mime
        ran = home.run("nssh", "paste", "--file")
    assert ran == Ran(1, b"", "nssh: the laptop's clipboard has no image\n")


@pytest.mark.parametrize("name", ["x-www-browser", "www-browser", "sensible-browser", "open"])
def test_every_name_of_a_browser_opens_a_url(name: str, home: Home) -> None:
    (home.path / name).unlink(missing_ok=True)
    (home.path / name).symlink_to(home.bin / "xdg-open")  # `open` is installed on a Mac only
    with Laptop(server(home)) as laptop:
        done = subprocess.run(
            [home.path / name, "https://x.y/1", "http://x.y/2"], env=home.env, capture_output=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert [message.url for message, _ in laptop.wait(2)] == ["https://x.y/1", "http://x.y/2"]


def test_the_names_of_a_mac(home: Home) -> None:
    for name in ("pbcopy", "pbpaste", "open"):
        (home.path / name).unlink(missing_ok=True)
        (home.path / name).symlink_to(home.bin / "xclip")

    def run(*argv: str, stdin: bytes = b"") -> Ran:
        done = subprocess.run(
            [home.path / argv[0], *argv[1:]], input=stdin, env=home.env, capture_output=True, check=False
        )
        return Ran(done.returncode, done.stdout, done.stderr.decode())

    with Laptop(server(home), {"text/plain": b"text\r\n"}) as laptop:
        assert run("pbcopy", stdin=b"copied") == Ran(0, b"", "")
        assert run("pbcopy", "-pboard", "general", stdin=b"again") == Ran(0, b"", "")
        assert [data for _, data in laptop.wait(2)] == [b"copied", b"again"]
        assert run("pbpaste") == run("pbpaste", "-Prefer", "txt") == Ran(0, b"text\r\n", "")
        laptop.clipboard = {"text/plain": b""}
        assert run("pbpaste") == Ran(0, b"", "")
        for argv in (
            ["pbcopy", "-pboard", "find"],
            ["pbpaste", "-Prefer", "rtf"],
            ["open", "-a", "Mail"],
            ["open", "."],
        ):
            ran = run(*argv)
            assert (ran.status, ran.out, ran.err.count("\n")) == (1, b"", 1)
            home.real_tool(argv[0], "echo real")
            assert run(*argv).out == b"real\n"
            (home.real / argv[0]).unlink()


def test_the_relays_own_words_reach_the_terminal(home: Home) -> None:
    assert home.run("nssh-remote", "relay", "--help").out.startswith(b"usage: ")


def test_an_unknown_name_is_one_line(home: Home) -> None:
    (home.path / "clip").symlink_to(home.bin / stub.PERSONAS[0])
    done = subprocess.run([home.path / "clip"], env=home.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "clip: this is a shim of nssh under a name that it does not know\n")
    assert home.run("nssh-remote", "nonsense").status == 2


def test_many_at_once_start_one_relay_and_lose_nothing() -> None:
    with Home() as home:
        home.infect()
        address = home.connect()
        urls = [f"https://x.y/{number}" for number in range(12)]
        processes = [home.start("xdg-open", url) for url in urls]
        for process in processes:
            _, err = process.communicate(timeout=60)
            assert (process.returncode, err) == (
                0,
                b"xdg-open: no laptop is connected; kept until your laptop is back\n",
            )
        answer = Client(address).request("GET", f"/{TOPIC}/json?poll=1&since=all")
        kept = [json.loads(json.loads(line)["message"])["url"] for line in answer.body.splitlines()]
        assert sorted(kept) == sorted(urls)
        assert sum(event["event"] == "msg-send" for event in home.log()) == len(urls)


def test_an_upgrade_ends_the_old_relay_and_what_it_kept_is_served_by_the_new_one() -> None:
    with Home() as home:
        home.infect()
        address = home.connect()
        home.run("xdg-open", "https://x.y/before")
        before = stop.listener_pid(str(home.state / "relay.sock"))
        assert home.infect().changed is False
        assert stop.listener_pid(str(home.state / "relay.sock")) == before, "the same version leaves it alone"
        (home.bin / "xclip").unlink()
        assert home.infect().changed is True
        assert stop.listener_pid(str(home.state / "relay.sock")) == 0
        home.run("xdg-open", "https://x.y/after")
        assert stop.listener_pid(str(home.state / "relay.sock")) not in {0, before}
        answer = Client(address).request("GET", f"/{TOPIC}/json?poll=1&since=all")
        kept = [json.loads(json.loads(line)["message"])["url"] for line in answer.body.splitlines()]
        assert kept == ["https://x.y/before", "https://x.y/after"]
