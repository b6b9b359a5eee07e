"""The lines of a streaming answer (NDJSON): what a subscription is, for the shims that wait for one."""

from __future__ import annotations

from nssh.wire.transport import Closed, HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.wire.http import Reader
    from nssh.wire.transport import Connection

MAX_LINE = 1 << 20


class Stream:
    """Made by `Client.stream`; the connection is its own."""

    def __init__(self, connection: Connection, reader: Reader) -> None:
        self._connection = connection
        self._reader = reader
        self._data = bytearray()
        self._searched = 0
        self.headers = reader.headers

    def line(self, deadline: float) -> bytes | None:
        """Return the next line that is not empty, without its line end; None when the server ended the stream properly.

        Args:
            deadline: `time.monotonic()` up to which to wait; what has already arrived is returned even after it.

        Raises:
            Timeout: No complete line yet; call again to go on.
            Closed: The connection broke.
            HttpError: A line of more than 1 MiB, or no HTTP.
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
            piece = self._reader.read(deadline, patient=True)
            if piece is None:
                if self._data:
                    raise Closed("%s closed the connection within a line" % self._connection.where)
                return None
            self._data += piece

    def fileno(self) -> int:
        """Return the connection's descriptor for select or poll; lines may be waiting in memory too.

        Raises:
            Closed: The stream was closed.
        """
        return self._connection.fileno()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
