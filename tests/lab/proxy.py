"""A link with delay on loopback: a TCP (or UDP) proxy that can also fall asleep and break.

    with DelayProxy("127.0.0.1", 22, delay=0.02) as link:
        connect("127.0.0.1", link.port)
        link.freeze()   # a laptop asleep: connections stay open, nothing arrives
        link.thaw()     # what was under way arrives now
        link.cut()      # every connection is reset

or `python -m tests.lab.proxy --listen 127.0.0.1:0 --to HOST:PORT --delay-ms 20 [--udp]`, which prints its port;
SIGUSR1 freezes, SIGUSR2 thaws, SIGHUP cuts, SIGTERM ends it (signals sent together may be handled in either order).

The delay is that of the distance, not of a narrow link: what was read is passed on `delay` seconds later, however much
it is. Like on a real link, TCP's own handshake takes a round trip, too. Frozen TCP data is held and delivered on thaw
(TCP would send it again); frozen datagrams are lost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_CHUNK = 256 << 10
# Small writes gather in the socket once this many are under way, so it bounds memory, hardly throughput.
_CHUNKS_UNDER_WAY = 256
_START_DEADLINE = 30.0

Address = tuple[str, int]


class DelayProxy:
    """The proxy on a thread of its own, listening from construction to `close`; methods are for any other thread."""

    def __init__(
        self, host: str, port: int = 0, *, delay: float = 0.0, listen: str = "127.0.0.1", udp: bool = False
    ) -> None:
        """Start it; with port 0 `host` is the path of a unix socket."""
        self._link: _TcpLink | _UdpLink = (_UdpLink if udp else _TcpLink)((host, port), delay)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="delay-proxy", daemon=True)
        self._thread.start()
        try:
            self.port = self._call(self._link.start((listen, 0)))
        except BaseException:
            self.close()
            raise

    def freeze(self) -> None:
        self._call(self._link.freeze())

    def thaw(self) -> None:
        self._call(self._link.thaw())

    def cut(self) -> None:
        """Reset every connection; new ones are accepted."""
        self._call(self._link.cut())

    @property
    def connections(self) -> int:
        """How many clients there are now."""
        return self._link.clients

    @property
    def accepted(self) -> int:
        """How many clients there ever were."""
        return self._link.accepted

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._call(self._link.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_DEADLINE)
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_START_DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _TcpLink:
    def __init__(self, target: Address, delay: float) -> None:
        self._target = target
        self._delay = delay
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._pairs: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._server: asyncio.Server | None = None
        self.accepted = 0

    @property
    def clients(self) -> int:
        return len(self._pairs)

    async def start(self, listen: Address) -> int:
        self._server = await asyncio.start_server(self._serve, *listen, limit=_CHUNK)
        return int(self._server.sockets[0].getsockname()[1])

    async def freeze(self) -> None:
        self._flowing.clear()

    async def thaw(self) -> None:
        self._flowing.set()

    async def cut(self) -> None:
        tasks = list(self._pairs)
        for task in tasks:
            for writer in self._pairs[task]:
                _reset(writer)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.accepted += 1
        self._pairs[task] = [writer]
        try:
            await self._connect(reader, writer, task)
        except OSError:
            # An end is gone, or refused: what a router would tell the other is a reset.
            for each in self._pairs[task]:
                _reset(each)
        except asyncio.CancelledError:
            pass  # cut() or close() reset both ends already
        finally:
            for each in self._pairs.pop(task):
                each.close()

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: asyncio.Task[None]
    ) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        # The SYN needs a delay to get there; the client's first data needs SYN, SYN-ACK and its own way.
        await asyncio.sleep(self._delay)
        await self._flowing.wait()
        host, port = self._target
        if port:
            there_reader, there = await asyncio.open_connection(host, port, limit=_CHUNK)
        else:
            there_reader, there = await asyncio.open_unix_connection(host, limit=_CHUNK)
        self._pairs[task].append(there)
        await _together(self._carry(reader, there, begun + 3 * self._delay), self._carry(there_reader, writer, 0.0))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, earliest: float) -> None:
        """Pass one direction on: a reader stamps what arrives, a writer waits until it is due; EOF travels alike."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_UNDER_WAY)

        async def receive() -> None:
            data = b"more"
            while data:
                await self._flowing.wait()
                data = await source.read(_CHUNK)
                await queue.put((max(earliest, loop.time() + self._delay), data))

        async def deliver() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(due - loop.time())
                await self._flowing.wait()
                if not data:
                    if sink.can_write_eof():
                        sink.write_eof()
                    return
                sink.write(data)
                await sink.drain()

        await _together(receive(), deliver())


class _UdpLink(asyncio.DatagramProtocol):
    """Datagrams of each client go out from a socket of their own, so that answers find their way back."""

    def __init__(self, target: Address, delay: float) -> None:
        self._target = target
        self._delay = delay
        self._frozen = False
        self._front: asyncio.DatagramTransport | None = None
        self._backs: dict[Any, asyncio.DatagramTransport] = {}
        self._opening: dict[Any, asyncio.Task[None]] = {}
        self.accepted = 0

    @property
    def clients(self) -> int:
        return len(self._backs)

    async def start(self, listen: Address) -> int:
        self._front, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=listen)
        return int(self._front.get_extra_info("sockname")[1])

    async def freeze(self) -> None:
        self._frozen = True

    async def thaw(self) -> None:
        self._frozen = False

    async def cut(self) -> None:
        """Forget every client: the next datagram of one comes from another port, as after roaming."""
        for back in self._backs.values():
            back.close()
        self._backs.clear()

    async def close(self) -> None:
        for task in self._opening.values():
            task.cancel()
        await self.cut()
        if self._front is not None:
            self._front.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        asyncio.get_running_loop().call_later(self._delay, self._forward, data, addr)

    def _forward(self, data: bytes, client: Any) -> None:
        if self._frozen:
            return
        back = self._backs.get(client)
        if back is not None:
            back.sendto(data)
        elif client not in self._opening:
            self._opening[client] = asyncio.get_running_loop().create_task(self._open(data, client))

    async def _open(self, data: bytes, client: Any) -> None:
        try:
            make = asyncio.get_running_loop().create_datagram_endpoint
            back, _ = await make(lambda: _UdpBack(self, client), remote_addr=self._target)
            self._backs[client] = back
            self.accepted += 1
            back.sendto(data)
        finally:
            del self._opening[client]

    def answer(self, data: bytes, client: Any) -> None:
        asyncio.get_running_loop().call_later(self._delay, self._return, data, client)

    def _return(self, data: bytes, client: Any) -> None:
        if not self._frozen and self._front is not None and not self._front.is_closing():
            self._front.sendto(data, client)


class _UdpBack(asyncio.DatagramProtocol):
    def __init__(self, link: _UdpLink, client: Any) -> None:
        self._link = link
        self._client = client

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002  asyncio's signature
        self._link.answer(data, self._client)


async def _together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run until all are done or one fails; the others are cancelled then, and its exception is raised as it is."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST instead of a FIN."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


async def _run(listen: Address, target: Address, delay: float, *, udp: bool) -> None:
    link = (_UdpLink if udp else _TcpLink)(target, delay)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    chores: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references

    def chore(action: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = loop.create_task(action())
        chores.add(task)
        task.add_done_callback(chores.discard)

    for number, action in ((signal.SIGUSR1, link.freeze), (signal.SIGUSR2, link.thaw), (signal.SIGHUP, link.cut)):
        loop.add_signal_handler(number, chore, action)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    port = await link.start(listen)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await ended.wait()
    await link.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.proxy", description="A link with delay, on loopback.")
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT")
    parser.add_argument("--to", type=_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--delay-ms", type=float, default=20.0, help="in each direction")
    parser.add_argument("--udp", action="store_true")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(arguments.listen, arguments.to, arguments.delay_ms / 1000, udp=arguments.udp))
    return 0


if __name__ == "__main__":
    sys.exit(main())
