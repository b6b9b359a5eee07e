"""What the personas share: the session, input and output, the log, and what is done with a clipboard."""

from __future__ import annotations

import os

from nssh.remote.bus import LIMIT, Bus
from nssh.remote.events import Events
from nssh.remote.failure import Failure
from nssh.wire import envelope as wire
from nssh.wire.files import state_dir
from nssh.wire.session import SessionError, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from nssh.remote.options import Options
    from nssh.wire.session import Session

TEXT = "text/plain"
_TEXT_NAMES = ("UTF8_STRING", "STRING", "TEXT", "COMPOUND_TEXT", "text", "text/plain")


class NoSession(Failure):
    """No laptop has ever connected here, or its session file can't be used."""


class Shim:
    """One run of one persona."""

    def __init__(self, persona: str, environ: Mapping[str, str] = os.environ) -> None:
        self.persona = persona
        self._environ = environ
        self.events = Events(state_dir(environ), persona)

    def start(self, options: Options, mime: str = "") -> None:
        """Note that the shim runs; nothing is written yet."""
        self.events.add("shim-start", persona=self.persona, args=options.flags(), mime=mime)

    def session(self) -> Session:
        """Return the session. Raises NoSession."""
        try:
            return load(self._environ)
        except SessionError as error:
            raise NoSession(str(error)) from None

    def bus(self) -> Bus:
        """Return the session's bus. Raises NoSession, or Failure if its server is no address."""
        try:
            return Bus(self.session(), self.events)
        except OSError as error:
            raise Failure(str(error)) from None

    def say(self, text: str) -> None:
        """Tell the user something, on stderr; nothing if there is nothing to say."""
        if not text:
            return
        try:
            os.write(2, ("%s: %s\n" % (self.persona, text)).encode("utf-8", "replace"))
        except OSError:
            return  # stderr is closed: nobody wants to know

    def publish(self, message: wire.Envelope, payload: bytes = b"") -> None:
        """Hand over a message; say so if it has to wait for the laptop. Raises Failure."""
        if self.bus().publish(message, payload) == 0:
            self.say("no laptop is connected; kept until your laptop is back")

    def copy(self, data: bytes, mime: str) -> None:
        """Put data on the laptop's clipboard. Raises Failure."""
        mime = plain(mime)
        if not data:
            self.events.add("clip-write-empty", mime=mime)
            self.say("nothing to copy; the laptop's clipboard stays as it is")
            return
        self.publish(wire.Envelope(wire.KIND_CLIP_WRITE, mime=mime, id=wire.new_id()), data)

    def paste(self, mime: str) -> bytes:
        """Fetch the laptop's clipboard as this type. Raises Failure; in particular when it has none of this type."""
        wanted = plain(mime)
        got, data = self.bus().ask(wanted, timeout(self._environ))
        # A laptop that knows only text and PNG answers any other type with text: that is not what was asked for.
        if base(got) != base(wanted) and (wanted != TEXT or got.startswith("image/")):
            raise Failure("the laptop's clipboard has no %s" % ("text" if wanted == TEXT else wanted))
        return data

    def targets(self) -> list[str]:
        """Return the MIME types that the laptop's clipboard offers, or may offer if it can't tell. Raises Failure."""
        session = self.session()
        if "targets" not in session.features:
            return [TEXT, "text/plain;charset=utf-8", "image/png"]
        _, data = self.bus().ask("TARGETS", timeout(self._environ))
        lines = data[: 64 << 10].decode("ascii", "replace").split("\n")
        return [line for line in (line.strip() for line in lines) if is_mime(line)]


def plain(mime: str) -> str:
    """Return the MIME type for a name of X or Wayland, one for all plain text. Raises Failure if it is none."""
    if not mime or mime in _TEXT_NAMES or mime.startswith("text/plain;"):
        return TEXT
    if not is_mime(mime):
        raise Failure("this is no type that can be asked for")
    return mime


def base(mime: str) -> str:
    """Return a MIME type without its parameters."""
    return mime.partition(";")[0].strip().lower()


def is_mime(text: str) -> bool:
    """Tell whether text has the form of a MIME type (RFC 6838's characters, parameters included)."""
    kind, _, subtype = text.partition("/")
    if len(text) > 100 or not kind[:1].isalnum() or not subtype[:1].isalnum():
        return False
    return all(character.isascii() and (character.isalnum() or character in "/!#$&-^_.+;= ") for character in text)


def timeout(environ: Mapping[str, str]) -> float:
    """Return how many seconds a read waits: NSSH_TIMEOUT, or 5."""
    try:
        seconds = float(environ.get("NSSH_TIMEOUT", ""))
    except ValueError:
        return 5.0
    return min(max(seconds, 0.1), 600.0) if seconds == seconds else 5.0  # noqa: PLR0124 (not a number)


def read_all(fd: int, what: str = "the input") -> bytes:
    """Read a descriptor to its end. Raises Failure if it holds more than can be sent."""
    pieces: list[bytes] = []
    size = 0
    while True:
        try:
            piece = os.read(fd, 1 << 18)
        except OSError as error:
            raise Failure("can't read %s: %s" % (what, error.strerror)) from None
        if not piece:
            return b"".join(pieces)
        size += len(piece)
        if size > LIMIT:
            raise Failure("%s is larger than %d MiB, the most that can be sent" % (what, LIMIT >> 20))
        pieces.append(piece)


def write_all(data: bytes) -> None:
    """Write to stdout. Raises Failure."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(1, view) :]
    except BrokenPipeError:
        raise Failure("") from None  # who reads has enough
    except OSError as error:
        raise Failure("can't write the output: %s" % error.strerror) from None
