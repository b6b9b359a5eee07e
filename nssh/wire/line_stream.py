"""Read a subscription: the lines (NDJSON) of an answer that goes on."""

from __future__ import annotations

from nssh.wire.client_connection import Closed, HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.wire.client_connection import ClientConnection
    from nssh.wire.http import IncomingAnswer

MAX_LINE = 1 << 20


class LineStream:
    """The lines of an answer, made by `Client.stream`; it owns the connection, and belongs to one thread."""

    def __init__(self, connection: ClientConnection, answer: IncomingAnswer) -> None:
        self._connection = connection
        self._answer = answer
        self._data = bytearray()
        self._searched = 0
        self.headers = answer.headers

    def line(self, deadline: float) -> bytes | None:
        """Wait for the next line that is not empty, and return it without its end; None at the end of the answer.

        Args:
            deadline: By `time.monotonic`. A line that has arrived is returned even after it.

        Raises:
            Timeout: No complete line has arrived; call again to go on.
            Closed: The connection broke.
            HttpError: A line is longer than 1 MiB, or the framing is not HTTP.
        """
        while True:
            end = self._data.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._data[:end]).strip(b" \r\t")
                del self._data[: end + 1]
                self._searched = 0
                if line:
                    return line
                continue
            self._searched = len(self._data)
            if self._searched > MAX_LINE:
                raise HttpError("%s sent a line of more than %d bytes" % (self._connection.where, MAX_LINE))
            piece = self._answer.read(deadline, patient=True)
            if piece is None:
                if self._data:
                    raise Closed("%s closed the connection within a line" % self._connection.where)
                return None
            self._data += piece

    def fileno(self) -> int:
        """Return the connection's descriptor for select or poll; lines may also wait in memory.

        Raises:
            Closed: The stream was closed.
        """
        return self._connection.fileno()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
