"""The stand-in's role on the laptop: `nssh [--join|--replace|--new] <host> [ssh arguments]`, over ssh.

In place of a Mac's browser and clipboard it has the directory `$NSSH_GO_DESK`: there `journal` gets a line of JSON for
each thing that it does, and the file `text` or `image.png` is what the clipboard holds.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import secrets
import signal
import subprocess
import threading
import time
from typing import Any

from tests.go.wire import BusError, configuration, messages, parse, publish, request, say, state_dir

VERSION = "v2.5.1"
_PING_TIMEOUT = 1.5
_SILENCE = 90.0
_RECONNECT = 1.0  # seconds after a stream has ended
_RETRY = 5.0  # seconds after one that could not be opened

_PREPARE = """\
set -e
if command -v nssh >/dev/null 2>&1; then
    echo "NSSH_VERSION: $(nssh --version 2>/dev/null | head -1 | awk '{{print $2}}')"
else
    echo "NSSH_VERSION: none"
fi
dir="${{XDG_STATE_HOME:-$HOME/.local/state}}/nssh"
mkdir -p "$dir"
cat > "$dir/session" <<'END'
server = "{server}"
topic = "{topic}"
END
cat >> "$dir/nssh.{topic}.jsonl" <<'END'
{event}
END
"""


class Desk:
    """The browser and the clipboard of this laptop, and what it says of itself; see the module."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        os.makedirs(path, mode=0o700, exist_ok=True)

    def did(self, what: str, **more: object) -> None:
        with self._lock, open(os.path.join(self._path, "journal"), "a", encoding="ascii") as file:
            file.write(json.dumps({"did": what, "pid": os.getpid(), **more}) + "\n")

    def _file(self, mime: str) -> str:
        return os.path.join(self._path, "image.png" if mime.startswith("image/png") else "text")

    def put(self, mime: str, data: bytes) -> None:
        path = self._file(mime)
        with open(f"{path}.new", "wb") as file:
            file.write(data)
        for other in ("text", "image.png"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._path, other))
        os.rename(f"{path}.new", path)
        self.did("copied", mime=mime, data=base64.b64encode(data).decode())

    def get(self, mime: str) -> bytes | None:
        """Return text or image, None for an image that is not there."""
        with contextlib.suppress(FileNotFoundError), open(self._file(mime), "rb") as file:
            return file.read()
        return None if mime.startswith("image/png") else b""


class Session:
    """`nssh [--join|--replace|--new] <host> [command]`, over ssh.

    Args:
        choice: `join`, `replace` or `new`; empty if none was given.
        words: The host and what ssh is given behind it.
    """

    def __init__(self, choice: str, words: list[str]) -> None:
        self._choice = choice
        self._words = words
        self._desk = Desk(os.environ["NSSH_GO_DESK"])
        self._server, self._topic = configuration(session=False)
        self._joined = 0
        self._last = ""  # id of the message that came last
        self._pause = _RETRY
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def _url(self) -> str:
        return f"{self._server.rstrip('/')}/{self._topic}"

    def run(self) -> int:
        host = short_host(self._words)
        if not self._topic:
            self._meet(host)
        path = self._register(host)
        if not self._joined:
            self._prepare()
        threading.Thread(target=self._subscribe, daemon=True).start()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._pass_on)
        self._child = subprocess.Popen(["ssh", *self._words])
        status = self._child.wait()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._desk.did("ended", status=status)
        return status

    def _pass_on(self, number: int, _: object) -> None:
        if self._child is not None:
            self._child.send_signal(number)

    def _meet(self, host: str) -> None:
        """Join, replace or leave alone the oldest live session whose host has the same name up to the first dot."""
        other = next((one for one in live_records() if one["host"] == host), None)
        choice = self._choice
        if other is not None and not choice:
            alive = ping(f"{other['server'].rstrip('/')}/{other['topic']}")
            say(f"existing session on {host} (PID {other['pid']}, alive={str(alive).lower()})")
            self._desk.did("asked", other=other["pid"], alive=alive)
            choice = "join"  # what it does without a terminal
        if other is not None and choice == "join":
            self._server, self._topic, self._joined = other["server"], other["topic"], other["pid"]
            say(f"joining active session for {host} (PID {other['pid']})")
            return
        if other is not None and choice == "replace":
            say(f"replacing existing session for {host} (PID {other['pid']})")
            end_session(other["pid"])
        self._topic = "nssh_" + base64.b32encode(secrets.token_bytes(12)).decode().rstrip("=").lower()

    def _register(self, host: str) -> str:
        seconds, fraction = divmod(time.time_ns(), 10**9)
        record = {
            "pid": os.getpid(),
            "target": self._words[0],
            "host": host,
            "topic": self._topic,
            "server": self._server,
            "started": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09}Z",
            "log": os.path.join(state_dir(), f"nssh.{self._topic}.jsonl"),
        }
        os.makedirs(os.path.join(state_dir(), "sessions"), exist_ok=True)
        path = record_path(os.getpid())
        with open(path, "w", encoding="utf-8") as file:
            json.dump(record, file)
        self._desk.did("registered", joined=self._joined)
        return path

    def _prepare(self) -> None:
        event = {"event": "session-open", "side": "session-init", "topic": self._topic, "version": VERSION}
        script = _PREPARE.format(server=self._server, topic=self._topic, event=json.dumps(event))
        words = ["ssh", "-o", "BatchMode=yes", self._words[0], "bash", "-l", "-s"]
        done = subprocess.run(words, input=script.encode(), stdout=subprocess.PIPE, check=False)
        lines = [line.partition("NSSH_VERSION: ") for line in done.stdout.decode().splitlines()]
        version = next((found for _, mark, found in lines if mark and found != "none"), "")
        if not version:
            say("not installed on remote — clipboard bridge will not work")
        self._desk.did("prepared", version=version)

    def _subscribe(self) -> None:
        """Follow the topic: at first what comes live, after a reconnect also what came since the last message."""
        while True:
            self._pause = _RETRY
            try:
                since = f"?since={self._last}" if self._last else ""
                for message in messages(f"{self._url}/json{since}", _SILENCE, on_open=self._subscribed):
                    self._last = message["id"]
                    threading.Thread(target=self._handle, args=(message,), daemon=True).start()
            except (OSError, http.client.HTTPException, BusError) as error:
                say(f"ntfy: {error} — retrying")
            time.sleep(self._pause)

    def _subscribed(self) -> None:
        self._pause = _RECONNECT
        self._desk.did("subscribed", since=self._last)

    def _handle(self, message: dict[str, Any]) -> None:
        """Do what a message asks for: whoever else may do it, whenever it was sent, and however often it comes."""
        envelope = parse(message.get("message", ""))
        if envelope is None:
            say(f"ignoring unrecognized message ({len(message.get('message', ''))} bytes)")
            return
        try:
            self._act(envelope["kind"], envelope, message)
        except BusError as error:
            say(f"{envelope['kind']}: {error}")

    def _act(self, kind: str, envelope: dict[str, str], message: dict[str, Any]) -> None:
        if kind == "open" and envelope.get("url", "").startswith(("http://", "https://")):
            self._desk.did("opened", url=envelope["url"])
        elif kind == "clip-write":
            self._copy(envelope, message)
        elif kind == "clip-read-request":
            self._answer(envelope)
        elif kind == "ping":
            publish(self._url, {"kind": "pong", "id": envelope.get("id", "")})

    def _copy(self, envelope: dict[str, str], message: dict[str, Any]) -> None:
        data = base64.b64decode(envelope.get("body", ""))
        if not data:
            url = (message.get("attachment") or {}).get("url")
            if not url:
                say("clip-write: no data (empty body and no attachment)")
                return
            try:
                data = request("GET", url)
            except BusError as error:
                say(f"clip-write: {error}")
                self._desk.did("lost", mime=envelope.get("mime", ""))
                return
        self._desk.put(envelope.get("mime") or "text/plain", data)

    def _answer(self, envelope: dict[str, str]) -> None:
        """Answer with the image if that is asked for as PNG, and with the text to everything else."""
        mime = envelope.get("mime") or "text/plain"
        data = self._desk.get(mime)
        answer = {"kind": "clip-read-response", "id": envelope.get("id", "")}
        if data is None:
            publish(self._url, answer, b"ERROR: no image on the clipboard")
        else:
            publish(self._url, {**answer, "mime": mime}, data)
        self._desk.did("answered", mime=mime)


def short_host(words: list[str]) -> str:
    told = subprocess.run(["ssh", "-G", *words], stdout=subprocess.PIPE, check=True).stdout.decode()
    name = next(line for line in told.splitlines() if line.startswith("hostname "))
    return name.partition(" ")[2].partition(".")[0]


def record_path(pid: int) -> str:
    return os.path.join(state_dir(), "sessions", f"{pid}.json")


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def live_records() -> list[dict[str, Any]]:
    """Return all records of sessions whose PID exists, oldest first; the others are removed."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(os.path.join(state_dir(), "sessions")):
            path = os.path.join(state_dir(), "sessions", name)
            with contextlib.suppress(OSError, ValueError, KeyError):
                if name.endswith(".json"):
                    with open(path, encoding="utf-8") as file:
                        record = json.load(file)
                    if exists(record["pid"]):
                        found.append(record)
                    else:
                        os.unlink(path)
    return sorted(found, key=lambda record: record["started"].rstrip("Z"))


def end_session(pid: int) -> None:
    """End a session by its PID alone, by force after a second, and remove its record."""
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 1.0
        while exists(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(record_path(pid))


def ping(url: str) -> bool:
    """Ask a topic whether anybody is there: follow it, and then send the ping."""
    own, end = secrets.token_hex(10), time.monotonic() + _PING_TIMEOUT

    def send() -> None:
        with contextlib.suppress(BusError):
            publish(url, {"kind": "ping", "id": own})

    def on_open() -> None:
        threading.Thread(target=send, daemon=True).start()

    with contextlib.suppress(OSError, http.client.HTTPException, BusError):
        for message in messages(f"{url}/json", _PING_TIMEOUT, end, on_open):
            answer = parse(message.get("message", ""))
            if answer and answer["kind"] == "pong" and answer.get("id") == own:
                return True
    return False
