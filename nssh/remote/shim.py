"""What the personas share: session, input and output, event log, and the operations on the clipboard."""

from __future__ import annotations

import os

from nssh.remote.bus import Bus
from nssh.remote.events import Events
from nssh.remote.failure import Failure
from nssh.remote.payload import Payload, wait_for
from nssh.wire import CONTENT_LIMIT, mimes
from nssh.wire import envelope as wire
from nssh.wire.files import state_dir
from nssh.wire.session_file import SessionError, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from nssh.remote.options import Options
    from nssh.wire.session_file import Session

TEXT = mimes.TEXT

# What to ask for instead if the laptop does not know these.
_WILD = {mimes.ANYTHING: TEXT, mimes.ANY_IMAGE: mimes.PNG}


class NoSession(Failure):
    """No laptop has connected here yet, or its session file can't be used."""


class Unavailable(Exception):  # noqa: N818 (each persona reports it as the real tool does)
    """The laptop's clipboard has no content of the requested type.

    Attributes:
        is_empty: The clipboard is empty; otherwise it has content of another type.
    """

    def __init__(self, *, is_empty: bool) -> None:
        super().__init__()
        self.is_empty = is_empty


class Shim:
    """One run of one persona."""

    def __init__(self, persona: str, environ: Mapping[str, str] = os.environ) -> None:
        self.persona = persona
        self.environ = environ
        self.events = Events(state_dir(environ), persona)
        self._session: Session | None = None
        self._bus: Bus | None = None

    def start(self, options: Options, mime: str = "") -> None:
        """Load the session before any input is read, and note the start for the log.

        Raises:
            NoSession: There is no session.
        """
        self.session()
        self.events.add("shim-start", persona=self.persona, args=options.flags(), mime=mime[:80])

    def session(self) -> Session:
        """Return the session. Raises NoSession."""
        if self._session is None:
            try:
                self._session = load(self.environ)
            except SessionError as error:
                raise NoSession(str(error)) from None
        return self._session

    def bus(self) -> Bus:
        """Return the session's bus. Raises NoSession, or Failure if the server's address is malformed."""
        if self._bus is None:
            try:
                self._bus = Bus(self.session(), self.events)
            except OSError as error:
                raise Failure(str(error)) from None
        return self._bus

    def say(self, text: str) -> None:
        """Print a line with the shim's name on stderr, unless `text` is empty."""
        if text:
            complain("%s: %s\n" % (self.persona, text))

    def publish(self, message: wire.Envelope, payload: Payload | None = None) -> None:
        """Publish a message; tell the user if it has to wait for the laptop. Raises Failure.

        If the laptop has replaced its session meanwhile, nobody may look at the old topic any more. So the message is
        published on the new one, too; by its id it takes effect once.
        """
        subscribers = self.bus().publish(message, payload)
        while self._follow_replaced_session():
            subscribers = self.bus().publish(message, payload)
        if subscribers == 0:
            self.say("no laptop is connected; kept until your laptop is back")

    def _follow_replaced_session(self) -> bool:
        """Use the new session if the same laptop has replaced the one that we use; return whether it has."""
        try:
            now = load(self.environ)
        except SessionError:
            return False
        before = self.session()
        same_laptop = _serial(now) and (now.server, _serial(now)) == (before.server, _serial(before))
        if now.topic == before.topic or not same_laptop:
            return False
        self._session, self._bus = now, None
        return True

    def input(self) -> Payload:
        """Return an empty payload for what is to be copied, with the limit of this session's laptop."""
        limit = CONTENT_LIMIT
        for feature in self.session().features:
            name, _, value = feature.partition("=")
            if name == "copy-limit" and value.isascii() and value.isdigit():
                limit = min(limit, int(value[:20]))
        return Payload(limit)

    def copy(self, data: Payload, mime: str) -> None:
        """Put data on the laptop's clipboard. Raises Failure."""
        wanted = _bridged(mime)
        if wanted == mimes.URI_LIST and any(
            line.lower().startswith(b"file:") for line in data.head(CONTENT_LIMIT).split(b"\n")
        ):
            raise Failure("these are files of this machine; a list of them means nothing on the laptop")
        if not data.size:
            self.events.add("clip-write-empty", mime=wanted)
            if not self._knows("types"):
                self.say("nothing to copy; the laptop's clipboard stays as it is")
                return
            wanted = TEXT  # an empty attachment can't travel, and the type of empty content does not matter
        message = wire.Envelope(wire.KIND_CLIP_WRITE, mime=wanted, id=wire.new_id())
        if wire.wants_attachment(wanted, data.size):
            self.publish(message, data)
        else:
            message.body = data.head(wire.INLINE_LIMIT)
            self.publish(message)

    def clear(self) -> None:
        """Empty the laptop's clipboard. Raises Failure."""
        if self._knows("types"):
            self.publish(wire.Envelope(wire.KIND_CLIP_WRITE, id=wire.new_id()))
        else:
            raise Failure("clearing is not carried to this laptop's nssh; its clipboard stays as it is")

    def paste(self, mime: str) -> tuple[str, Payload]:
        """Return the type and the content of the laptop's clipboard.

        Args:
            mime: The wanted type, `mimes.ANYTHING` or `mimes.ANY_IMAGE`.

        Raises:
            Unavailable: The clipboard has no content of this type.
            Failure: The clipboard can't be read.
        """
        wanted = mime if mime in _WILD else _bridged(mime)
        if not self._knows("types"):
            wanted = _WILD.get(wanted, wanted)
        got, data = self._ask(wanted)
        if got == mimes.ANYTHING:
            got = TEXT  # from a Go program that has joined: see `_can_be`
        if not data.size and not (got and _fits(got, wanted) and self._knows("types")):
            # With the feature `types`, the answer names what else there is; without, empty means empty.
            raise Unavailable(is_empty=not got or not self._knows("types"))
        if not _fits(got, wanted) or not self._can_be(got, data):
            raise Unavailable(is_empty=False)
        return mimes.base(got) or TEXT, data

    def _can_be(self, mime: str, data: Payload) -> bool:
        """Return whether content can be what the answer declares.

        The Go program has plain text and PNG. It answers a request for any other type with plain text, and declares
        this as the requested type. It may also have joined a session of ours, so images are always looked at.
        """
        own, name = self._knows("types"), mimes.canonical(mime)
        if name.startswith("image/"):
            return mimes.may_be_image(name, data.head(512), text_images=own)
        return own or name == TEXT

    def targets(self) -> list[str]:
        """Return the MIME types on the laptop's clipboard, or all it may have if it can't tell. Raises Failure."""
        if not self._knows("targets"):
            return [TEXT, mimes.PNG]
        _, data = self._ask("TARGETS")
        lines = data.head(64 << 10).decode("ascii", "replace").split("\n")
        return [line for line in (line.strip() for line in lines) if mimes.canonical(line) == line]

    def _knows(self, feature: str) -> bool:
        return feature in self.session().features

    def _ask(self, mime: str) -> tuple[str, Payload]:
        from nssh.remote.clipboard_read import ClipboardRead

        try:
            return ClipboardRead(self.bus(), mime, timeout(self.environ)).ask()
        except Failure:
            if not self._follow_replaced_session():
                raise
            return ClipboardRead(self.bus(), mime, timeout(self.environ)).ask()


def _serial(session: Session) -> str:
    """Return what the session files of one laptop for this host have in common; empty if it tells nothing."""
    return next((feature for feature in session.features if feature.startswith("serial=")), "")


def _bridged(mime: str) -> str:
    name = mimes.canonical(mime)
    if not name:
        raise Failure("the clipboard takes text and images here, not this type")
    return name


def _fits(got: str, wanted: str) -> bool:
    if wanted == mimes.ANYTHING:
        return True
    if wanted == mimes.ANY_IMAGE:
        return mimes.canonical(got).startswith("image/")
    return mimes.canonical(got) == wanted


ANSWER_WITHIN = 5.0
"""Seconds that a read waits for an answer, unless NSSH_TIMEOUT says otherwise."""


def timeout(environ: Mapping[str, str]) -> float:
    """Return the seconds that a read waits: NSSH_TIMEOUT from 0.1 to 600, by default `ANSWER_WITHIN`."""
    try:
        seconds = float(environ.get("NSSH_TIMEOUT", ""))
    except ValueError:
        return ANSWER_WITHIN
    return min(max(seconds, 0.1), 600.0) if seconds == seconds else ANSWER_WITHIN  # noqa: PLR0124 (not a number)


def complain(text: str) -> None:
    """Write text to stderr unchanged."""
    try:
        os.write(2, text.encode("utf-8", "surrogateescape"))
    except OSError:
        return  # stderr is closed


def write_all(data: bytes) -> None:
    """Write to stdout. Raises Failure; BrokenPipeError if the reader has gone."""
    view = memoryview(data)
    try:
        while view:
            view = view[_write(view) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure("can't write the output: %s" % error.strerror) from None


def _write(data: memoryview) -> int:
    try:
        return os.write(1, data)
    except BlockingIOError:
        wait_for(1, output=True)
        return 0


def write_payload(data: Payload) -> None:
    """Write content to stdout; raises as `write_all` does."""
    for piece in data.pieces():
        write_all(piece)
