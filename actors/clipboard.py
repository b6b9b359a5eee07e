"""`clip-write` and `clip-read-request`: the clipboard of the machine the user sits at."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from actors._base import BaseActor
from actors.messages import Done, Log, Problem, Publish, Work
from nssh.errors import BusError, ToolError
from nssh.local.clipboard import ClipboardEmpty, MemoryClipboard, detect
from nssh.wire import envelope as wire

if TYPE_CHECKING:
    from actors.incarnation import Context
    from nssh.bus.client import BusClient
    from nssh.local.clipboard import Clipboard as Backend

# Seconds: a read and a write by the tools' own deadlines, a download of 20 MiB over a slow link.
_BUSY = 330.0
# Seconds after which the shim has stopped waiting for the answer to a read.
_ANSWER_WITHIN = 15.0
_DOWNLOAD_ATTEMPTS = 12
_DOWNLOAD_PAUSE = 5.0


class Clipboard(BaseActor):
    """Puts what the remote sends on the clipboard, and answers its reads, one after another."""

    def __init__(self, context: Context, client: BusClient, memory: MemoryClipboard) -> None:
        super().__init__(context)
        self._client = client
        self._memory = memory

    def handle(self, message: Work) -> None:
        """Do one thing with the clipboard."""
        self.busy(_BUSY)
        if message.envelope.kind == wire.KIND_CLIP_WRITE:
            self._write(message)
        else:
            self._read(message)

    def stopped(self) -> None:
        """End the connection for downloads."""
        self._client.close()

    def _backend(self) -> Backend:
        # Looked up each time: displays come and go, and it only looks at files.
        backend = detect()
        return self._memory if isinstance(backend, MemoryClipboard) else backend

    def _write(self, work: Work) -> None:
        envelope = work.envelope
        fields: dict[str, object] = {"kind": envelope.kind, "mime": envelope.mime, "id": work.id}
        try:
            data = envelope.body
            if work.attachment is not None:
                data = self._client.download(work.id, size=work.attachment.size)
            self._backend().write(envelope.mime or "text/plain", data)
            self.send("session_registry", Problem("clipboard", ""))
        except BusError as error:
            if error.retryable and work.attempt < _DOWNLOAD_ATTEMPTS:
                self.after(_DOWNLOAD_PAUSE, work._replace(attempt=work.attempt + 1))
                return
            self._failed(fields, str(error))
        except ToolError as error:
            self._failed(fields, str(error))
        self.send("subscriber", Done(work.id))

    def _failed(self, fields: dict[str, object], reason: str) -> None:
        self.send("log_writer", Log("clip-write-failed", {**fields, "err": reason}))
        self.send("session_registry", Problem("clipboard", f"a clipboard write failed: {reason}"))

    def _read(self, work: Work) -> None:
        asked = work.envelope
        mime = asked.mime or "text/plain"
        try:
            if mime == "TARGETS":
                answer_mime, body = "text/plain", "\n".join(self._backend().targets()).encode()
            else:
                # A Go shim asks for images as image/png and takes everything else as text (PROTOCOL.md).
                answer_mime, body = mime, self._backend().read(mime)
        except ClipboardEmpty:
            answer_mime, body = mime, b""
        except ToolError as error:
            answer_mime, body = "text/plain", f"ERROR: {error}".encode()
            self.send("log_writer", Log("clip-read-error", {"id": asked.id, "mime": mime, "err": str(error)}))
        reply = wire.Envelope(wire.KIND_CLIP_READ_RESPONSE, mime=answer_mime, body=body, id=asked.id)
        self.send("publisher", Publish(reply, time.monotonic() + _ANSWER_WITHIN))
        self.send("subscriber", Done(work.id))
