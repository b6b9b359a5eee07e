"""The laptop replaces its session while a shim is at work: nothing is left on a topic that nobody looks at any more."""

from __future__ import annotations

import json

import pytest

from nssh.wire import session_file
from tests.remote.scripted import Request, ScriptedServer, answer
from tests.remote.support import TOPIC, Home, Ran

pytestmark = pytest.mark.real

NEW = "nssh_zyxwvutsrqponmlkjihg"


@pytest.fixture
def home(fresh: Home) -> Home:
    return fresh


class Replaced:
    """A server whose publisher's session file is written anew while it publishes, each of the first `times`."""

    def __init__(self, home: Home, serials: list[str]) -> None:
        self.topics: list[str] = []
        self.ids: list[str] = []
        self.server = ScriptedServer(self._publish)
        self._home = home
        self._serials = serials
        self._write(TOPIC, serials.pop(0))

    def _write(self, topic: str, serial: str) -> None:
        features = (f"serial={serial}",) if serial else ()
        self._home.connect(self.server.url, features)
        path = self._home.state / "session"
        path.write_text(session_file.render(session_file.Session(self.server.url, topic, features)))

    def _publish(self, request: Request) -> bytes:
        self.topics.append(request.path[1:])
        text = request.headers.get("x-message") or request.body.decode()
        self.ids.append(json.loads(text)["id"])
        if self._serials:
            self._write(NEW + "x" * len(self._serials), self._serials.pop(0))
        return answer(200, b'{"subscribers": 1}')


@pytest.mark.parametrize("command", ["open", "copy", "copy an image"])
def test_a_message_is_published_on_the_new_topic_too_under_its_id(home: Home, command: str) -> None:
    argv = {
        "open": ["xdg-open", "https://x.y/"],
        "copy": ["xclip", "-sel", "c"],
        "copy an image": ["xclip", "-sel", "c", "-t", "image/png"],
    }[command]
    replaced = Replaced(home, ["1a", "1a", "1a"])
    with replaced.server:
        assert home.run(*argv, stdin=b"hello") == Ran(0, b"", "")
    assert replaced.topics == [TOPIC, f"{NEW}xx", f"{NEW}x"]
    assert len(set(replaced.ids)) == 1
    assert len({request.body for request in replaced.server.published}) == 1


@pytest.mark.parametrize("serials", [["1a", "2b"], ["", ""], ["1a", ""], ["", "1a"]])
def test_another_laptop_s_session_gets_nothing_of_it(home: Home, serials: list[str]) -> None:
    replaced = Replaced(home, serials)
    with replaced.server:
        assert home.run("xdg-open", "https://x.y/") == Ran(0, b"", "")
    assert replaced.topics == [TOPIC]


def test_a_session_file_that_is_gone_or_damaged_meanwhile_changes_nothing(home: Home) -> None:
    def publish(_: Request) -> bytes:
        (home.state / "session").write_bytes(b"\xff = [")
        return answer(200, b'{"subscribers": 1}')

    with ScriptedServer(publish) as server:
        home.connect(server.url, ("serial=1a",))
        assert home.run("xdg-open", "https://x.y/") == Ran(0, b"", "")


def test_a_read_that_nobody_answered_is_asked_of_the_new_session(home: Home) -> None:
    def publish(_: Request) -> bytes:
        text = session_file.render(session_file.Session(server.url, NEW, ("serial=1a",)))
        (home.state / "session").write_text(text)
        return answer(200)

    with ScriptedServer(publish) as server:
        home.connect(server.url, ("serial=1a",))
        ran = home.run("xclip", "-sel", "c", "-o", env={"NSSH_TIMEOUT": "1"})
    asked = [request.path for request in server.published]
    assert asked == [f"/{TOPIC}", f"/{NEW}"]
    assert (ran.status, ran.err.count("\n")) == (1, 1)
