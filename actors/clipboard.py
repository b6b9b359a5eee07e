"""Acts on `clip-write` and `clip-read-request`: writes and reads the clipboard of the laptop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from actors.messages import Flush, Log, Postponed, Problem, Publish, ReportLoss, Retry
from actors.worker import Worker
from nssh.base.errors import BusError, ToolError
from nssh.bus import backoff
from nssh.bus.losses import file_text
from nssh.local.clipboard import ClipboardEmpty, MemoryClipboard, detect
from nssh.local.clipboard_content import Content, check_size, check_uris, describe
from nssh.local.tool_runner import ToolOverflowError
from nssh.wire import envelope as wire
from nssh.wire import mimes

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.outbox import Outbox
    from actors.supervision import Context, Timer
    from nssh.bus.client import BusClient
    from nssh.bus.deliveries import Delivery
    from nssh.bus.ledger import Ledger
    from nssh.config.settings import ClipboardConfig
    from nssh.local.clipboard import Clipboard as Backend

# Seconds for one message: the deadlines of the clipboard tools, and the longest pause that a download may make.
_BUSY = 330.0
# Seconds between two `clip-read-pending` to a shim while the clipboard's content is slow to come.
_TELL = 1.0
# Seconds after which no shim waits for the answer to a read any more.
_ANSWER_WITHIN = 15.0
# Seconds that a write whose attachment can't be downloaded holds up later messages, and until it is given up.
_HOLD_UP = 3.0
_GIVE_UP = 60.0
# Bytes of answers in the outbox: a remote that asks faster than its link carries must not fill the laptop's disk.
_MOST_WAITING = 256 << 20
_LONGEST_PAUSE = 5.0


class Clipboard(Worker):
    """Writes to the clipboard what the remote sends, and answers the remote's reads, one message after another."""

    def __init__(
        self,
        context: Context,
        ledger: Ledger,
        client: BusClient,
        memory: MemoryClipboard,
        outbox: Outbox,
        *,
        config: ClipboardConfig,
    ) -> None:
        """Keep the parts.

        Args:
            context: See `BaseActor`.
            ledger: The topic's.
            client: Downloads attachments; this actor's own.
            memory: Serves as the clipboard if the machine has none; kept across restarts of this actor.
            outbox: Takes the answers.
            config: The user's commands and limits.
        """
        super().__init__(context, ledger)
        self._client = client
        self._memory = memory
        self._outbox = outbox
        self._config = config
        # The write whose attachment can't be downloaded yet, since when, and whether later messages may overtake it.
        self._pending: Delivery | None = None
        self._since = 0.0
        self._postponed = False
        self._retry: Timer | None = None
        self._attempts = backoff.attempts(_LONGEST_PAUSE)

    def handle(self, message: Delivery | Retry) -> None:
        """Act on one message, or try the waiting write again."""
        self.busy(_BUSY)
        if isinstance(message, Retry):
            if self._pending is not None:
                self._write(self._pending)
        elif self._pending is not None and message.id == self._pending.id:
            self._postponed = False  # the subscriber, restarted, has handed the same write out again
        elif self.is_repeated(message):
            return
        elif message.envelope.kind == wire.KIND_CLIP_WRITE:
            self._supersede()
            self._write(message)
        else:
            self._read(message)

    def stopped(self) -> None:
        """Close the connection for downloads."""
        self._client.close()

    def _backend(self) -> Backend:
        # Detected for each message, since displays come and go; detection is cheap, it only looks at files.
        backend = detect(config=self._config)
        return self._memory if isinstance(backend, MemoryClipboard) else backend

    def _supersede(self) -> None:
        """Drop the write that still waits for its attachment: applied later, it would undo the newer write."""
        if self._pending is not None:
            old = self._pending
            self.send("log_writer", Log("clip-superseded", {"kind": old.envelope.kind, "id": old.id}))
            self._settle(old)

    def _settle(self, work: Delivery) -> None:
        if work is self._pending:
            self._pending = None
            if self._retry is not None:
                self._retry.cancel()
        self.finish(work)

    def _write(self, work: Delivery) -> None:
        envelope = work.envelope
        fields: dict[str, object] = {"kind": envelope.kind, "mime": envelope.mime, "id": work.id}
        try:
            data = self._payload(work)
            if self.context.abandoned:
                return  # after a hang: the next incarnation has applied this write, and perhaps newer ones
            self._put(envelope.mime, data)
        except BusError as error:
            if error.retryable and self._wait(work, error):
                return
            if error.kind == "gone":
                self.send("log_writer", Log("file-lost", fields))
                self.send("subscriber", ReportLoss(file_text(work.time)))
            else:
                self._failed(fields, str(error))
        except ToolError as error:
            self._failed(fields, str(error))
        else:
            self.send("session_registry", Problem("clipboard", ""))
        self._settle(work)

    def _payload(self, work: Delivery) -> Content:
        """Return the content of a write, from its envelope or its attachment. Raises BusError, ToolError."""
        if work.attachment is None:
            check_size(len(work.envelope.body), self._config.copy_limit)
            return Content(work.envelope.body)
        size, data = work.attachment.size, Content()
        check_size(size or 0, self._config.copy_limit)

        def write(piece: bytes) -> None:
            data.write(piece)
            self.busy(_BUSY)

        self._client.download_to(
            work.id, write, self._config.copy_limit, size, patience=self._client.patience(work.time)
        )
        return data

    def _put(self, mime: str, data: Content) -> None:
        if not mime and not data.size:
            self._backend().clear()
            return
        if mimes.canonical(mime) == mimes.URI_LIST:
            check_uris(data)
        self._backend().store(mime or mimes.TEXT, data)

    def _wait(self, work: Delivery, error: BusError) -> bool:
        """Plan another try; return False if the write has failed for `_GIVE_UP` seconds.

        Later messages wait for it during the first `_HOLD_UP` seconds.
        """
        now = self.context.clock.monotonic()
        if self._pending is None:
            self._since, self._postponed = now, False
            self._attempts.reset()
            self.send("log_writer", Log("download-failed", {"id": work.id, "err": str(error)}))
        if now - self._since > _GIVE_UP:
            return False
        self._pending = work
        self._retry = self.after(backoff.delay(self._attempts, error), Retry())
        if not self._postponed and now - self._since >= _HOLD_UP:
            self._postponed = True
            self.send("subscriber", Postponed(work.id))
        return True

    def _failed(self, fields: dict[str, object], reason: str) -> None:
        self.send("log_writer", Log("clip-write-failed", {**fields, "err": reason}))
        self.send("session_registry", Problem("clipboard", f"a clipboard write failed: {reason}"))

    def _read(self, work: Delivery) -> None:
        asked = work.envelope
        mime = asked.mime or mimes.TEXT
        reply = wire.Envelope(wire.KIND_CLIP_READ_RESPONSE, mime=mime, id=asked.id)
        payload = None
        try:
            if self._outbox.weight() > _MOST_WAITING:
                raise ToolError("too many large reads at a time; ask again in a moment")  # noqa: TRY301
            if mime == "TARGETS":
                reply.mime, data = mimes.TEXT, Content("\n".join(self._backend().targets()).encode())
            else:
                reply.mime, data = self._backend().fetch(mime, self._config.paste_limit, self._teller(work))
            if data.size and wire.wants_attachment(reply.mime, data.size):
                payload = data
            else:
                reply.body = data.read_all()
        except ClipboardEmpty as error:
            # The type that the clipboard has instead, or empty: the shim names it in its error, as the real tools do.
            reply.mime = error.others[0] if error.others else ""
        except ToolError as error:
            reason = str(error)
            if isinstance(error, ToolOverflowError):
                limit = describe(self._config.paste_limit)
                reason = f"the laptop's clipboard holds more than {limit}, the most that it sends"
            reply.mime, reply.body = mimes.TEXT, f"ERROR: {reason}".encode()
            self.send("log_writer", Log("clip-read-error", {"id": asked.id, "mime": mime, "err": reason}))
        self._outbox.put(Publish(reply, time.monotonic() + _ANSWER_WITHIN, payload, work.topic))
        self.send("publisher", Flush())
        self.finish(work)

    def _teller(self, work: Delivery) -> Callable[[], None]:
        """Return a function to call for each piece read from the clipboard; it tells the shim to go on waiting."""
        last = time.monotonic()

        def tell() -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _TELL:
                last = now
                pending = wire.Envelope(wire.KIND_CLIP_READ_PENDING, id=work.envelope.id)
                self._outbox.put(Publish(pending, now + _ANSWER_WITHIN, topic=work.topic))
                self.send("publisher", Flush())

        return tell
