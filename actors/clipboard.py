"""`clip-write` and `clip-read-request`: the clipboard of the machine the user sits at."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from actors.messages import Flush, Log, Loss, Postponed, Problem, Publish, Retry
from actors.worker import Worker
from nssh.base.errors import BusError, ToolError
from nssh.bus import backoff
from nssh.bus.losses import file_text
from nssh.config.settings import ClipboardConfig
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
    from nssh.local.clipboard import Clipboard as Backend

# Seconds: a read and a write by the tools' own deadlines, and as much of a download as may go without a sign of life.
_BUSY = 330.0
# Seconds between two words to who waits for an answer that takes long to get from the clipboard.
_TELL = 1.0
# Seconds after which the shim has stopped waiting for the answer to a read.
_ANSWER_WITHIN = 15.0
# Seconds for which what follows waits for a write whose file can't be had, and after which the write is given up.
_HOLD_UP = 3.0
_GIVE_UP = 60.0
# Bytes of answers that wait to be sent: a remote that asks faster than its link carries fills no disk here.
_MOST_WAITING = 256 << 20
_LONGEST_PAUSE = 5.0


class Clipboard(Worker):
    """Puts what the remote sends on the clipboard, and answers its reads, one after another."""

    def __init__(
        self,
        context: Context,
        ledger: Ledger,
        client: BusClient,
        memory: MemoryClipboard,
        outbox: Outbox,
        *,
        config: ClipboardConfig | None = None,
    ) -> None:
        """Keep the parts.

        Args:
            context: Of this life.
            ledger: The topic's.
            client: For downloads alone.
            memory: The clipboard where the machine has none; it outlives this actor.
            outbox: For the answers.
            config: The user's commands and limits.
        """
        super().__init__(context, ledger)
        self._client = client
        self._memory = memory
        self._outbox = outbox
        self._config = config or ClipboardConfig()
        # A write whose attachment can't be had at the moment, since when, and whether it is out of the others' way.
        self._pending: Delivery | None = None
        self._since = 0.0
        self._postponed = False
        self._retry: Timer | None = None
        self._attempts = backoff.attempts(_LONGEST_PAUSE)

    def handle(self, message: Delivery | Retry) -> None:
        """Do one thing with the clipboard."""
        self.busy(_BUSY)
        if isinstance(message, Retry):
            if self._pending is not None:
                self._write(self._pending)
        elif self._pending is not None and message.id == self._pending.id:
            self._postponed = False  # a copy: whoever gave it does not know
        elif self.is_repeated(message):
            return
        elif message.envelope.kind == wire.KIND_CLIP_WRITE:
            self._supersede()
            self._write(message)
        else:
            self._read(message)

    def stopped(self) -> None:
        """End the connection for downloads."""
        self._client.close()

    def _backend(self) -> Backend:
        # Looked up each time: displays come and go, and it only looks at files.
        backend = detect(config=self._config)
        return self._memory if isinstance(backend, MemoryClipboard) else backend

    def _supersede(self) -> None:
        """Let go of a write that still waits for its attachment: applied later, it would undo the newer one."""
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
                return  # come back from a hang: a successor has written this, and may have written newer things
            self._put(envelope.mime, data)
        except BusError as error:
            if error.retryable and self._wait(work, error):
                return
            if error.kind == "gone":
                self.send("log_writer", Log("file-lost", fields))
                self.send("subscriber", Loss(file_text(work.time)))
            else:
                self._failed(fields, str(error))
        except ToolError as error:
            self._failed(fields, str(error))
        else:
            self.send("session_registry", Problem("clipboard", ""))
        self._settle(work)

    def _payload(self, work: Delivery) -> Content:
        """Return what came with a write, however it came. Raises BusError, ToolError."""
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
        """Try again later, if that may help: soon at first, and then in nobody's way."""
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
                reply.mime, data = self._backend().fetch(mime, self._config.paste_limit, self._teller(asked.id))
            if data.size and wire.wants_attachment(reply.mime, data.size):
                payload = data
            else:
                reply.body = data.read_all()
        except ClipboardEmpty as error:
            # What there is instead, or nothing: so that a shim can say which, as the real tools do.
            reply.mime = error.others[0] if error.others else ""
        except ToolError as error:
            reason = str(error)
            if isinstance(error, ToolOverflowError):
                limit = describe(self._config.paste_limit)
                reason = f"the laptop's clipboard holds more than {limit}, the most that it sends"
            reply.mime, reply.body = mimes.TEXT, f"ERROR: {reason}".encode()
            self.send("log_writer", Log("clip-read-error", {"id": asked.id, "mime": mime, "err": reason}))
        self._outbox.put(Publish(reply, time.monotonic() + _ANSWER_WITHIN, payload))
        self.send("publisher", Flush())
        self.finish(work)

    def _teller(self, identity: str) -> Callable[[], None]:
        """Return what tells the shim, as long as something comes from the clipboard, that it is worth waiting."""
        last = time.monotonic()

        def tell() -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _TELL:
                last = now
                pending = wire.Envelope(wire.KIND_CLIP_READ_PENDING, id=identity)
                self._outbox.put(Publish(pending, now + _ANSWER_WITHIN))
                self.send("publisher", Flush())

        return tell
