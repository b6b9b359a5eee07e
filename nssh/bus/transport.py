"""Send HTTP requests to one bus server, over TCP or TLS, a unix socket, or streams that a function dials."""

from __future__ import annotations

import base64
import contextlib
import errno
import http.client
import http.cookiejar
import logging
import os
import socket
import ssl
import time
import urllib.parse
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import ProxyManager

import nssh
from nssh.base.errors import BusError, NsshError
from nssh.bus import failures
from nssh.bus.messages import BadLineError, parse_object
from nssh.bus.sockets import Cutter, as_socket
from nssh.wire.client_connection import open_unix

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Generator, Mapping

    from nssh.bus.upload import Upload
    from nssh.ssh.connection import ByteStream

CHUNK: Final = 65536

# urllib3 logs URLs, which hold the topic. "Failed to parse headers (url=…)" is a warning, and Python prints warnings to
# stderr without a logging configuration.
logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)


class Address(NamedTuple):
    """A parsed server name."""

    base: str
    """`http(s)://host[:port][/prefix]`, without a slash at the end; with `dial` the host is a placeholder."""
    where: str
    """The server's name in error texts: host and port, or the relay."""
    dial: Callable[[], ByteStream] | None
    user: str = ""
    password: str = ""


def parse_address(server: str, dial: Callable[[], ByteStream] | None, timeout: float) -> Address:
    """Parse a server name, `http(s)://…` or `unix:/path`; with `dial` it is ignored.

    Raises:
        BusError: The name has neither form (kind `request`).
    """
    if dial is not None:
        return Address("http://localhost", "the relay on the remote", dial)
    if server.startswith("unix:/"):
        path = server.removeprefix("unix:")
        return Address("http://localhost", "the relay", lambda: _connect_unix(path, timeout))
    try:
        parts = urllib.parse.urlsplit(server)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urllib.parse.SplitResult("", "", "", "", "")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or not server.isprintable():
        raise BusError('`server` must be "relay" or http(s)://host[:port]: check it in config.toml', "request")
    location = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    return Address(
        f"{parts.scheme}://{location}{parts.path.rstrip('/')}",
        f"ntfy at {location}",
        None,
        urllib.parse.unquote(parts.username or ""),
        urllib.parse.unquote(parts.password or ""),
    )


class Transport:
    """Makes HTTP sessions to one server and sends requests over them; errors are raised as `BusError`.

    Usable from any thread. A session is for one thread at a time, but any thread may cut its Cutter.
    """

    def __init__(self, address: Address, *, token: str, user: str, password: str, timeout: float) -> None:
        """Keep the settings; nothing is opened.

        Args:
            address: The server.
            token: Sent as bearer unless empty; used rather than user and password.
            user: Sent with the password as basic authentication, unless empty.
            password: See user.
            timeout: Seconds for connecting and for each wait for bytes.

        Raises:
            BusError: The token has characters that a header can't carry.
        """
        self.where = address.where
        self.timeout = timeout
        self.server_time: float | None = None
        """The last time that the server told, in a Date header or by `saw_time`; seconds since the epoch, or None."""
        self._address = address
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise BusError("the token holds characters that no token has: check token in config.toml", "auth")
        self._auth = _Authorization(token, user or address.user, password or address.password)

    def saw_time(self, server_time: float) -> None:
        """Note the server's time, from an open event, for example."""
        self.server_time = server_time

    def session(self, cutter: Cutter) -> CuttableSession:
        """Return an HTTP session that keeps one connection, and whose connections `cutter` can cut."""
        session = CuttableSession(cutter)
        # Proxies and CA bundles from the environment apply to servers in the network, not to streams that we dial.
        # ~/.netrc is never read, because every request has an `auth`, which may be empty.
        session.trust_env = self._address.dial is None
        session.auth = self._auth
        session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        session.headers.update({"User-Agent": f"nssh/{nssh.__version__}", "Accept-Encoding": "identity"})
        adapter = _Adapter(self._address.dial, cutter)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session

    def connect_ahead(self, session: CuttableSession) -> None:
        """Have a connection that we dial ready for the next request; blocks, and leaves errors to that request.

        Through a network there may be a proxy on the way, and the request itself finds it.
        """
        if self._address.dial is None:
            return
        request = session.prepare_request(requests.Request("GET", self._address.base))
        adapter = session.get_adapter(self._address.base)
        pool = (
            adapter.get_connection_with_tls_context(request, verify=True) if isinstance(adapter, HTTPAdapter) else None
        )
        if not isinstance(pool, HTTPConnectionPool):
            return
        try:
            connection = pool._get_conn()  # noqa: SLF001 - urllib3 has no other way to connect ahead of a request
        except urllib3.exceptions.HTTPError:
            return  # it was closed just now
        try:
            if not connection.is_connected:
                connection.connect()
        except (urllib3.exceptions.HTTPError, OSError, NsshError):
            connection.close()
        finally:
            pool._put_conn(connection)  # noqa: SLF001

    def send(
        self,
        session: CuttableSession,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | io.BytesIO | Upload | None = None,
    ) -> requests.Response:
        """Send a request; return its answer, of status 200 and not compressed, with the body still to be read.

        Raises:
            BusError: There is no such answer.
        """

        def attempt() -> requests.Response:
            return session.request(
                method,
                self._address.base + path,
                params=params,
                headers=headers,
                data=data,
                timeout=self.timeout,
                allow_redirects=False,  # the token would be sent to the other address
                stream=True,
            )

        response = self._explained(attempt, session.cutter, again=method == "GET")
        date = failures.http_date(response.headers.get("Date"))
        if date is not None:
            self.saw_time(date)
        if response.status_code != 200:
            raise self._refusal(response, date)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            response.close()
            raise failures.nonsense(self.where)
        return response

    def _explained(self, attempt: Callable[[], requests.Response], cutter: Cutter, *, again: bool) -> requests.Response:
        """Return what `attempt` returns, or raise BusError; `again` allows a second attempt after an early close."""
        cuts = cutter.cuts
        failure = None
        try:
            try:
                return attempt()
            except (requests.ConnectionError, urllib3.exceptions.HTTPError, OSError) as error:
                # A server may close a kept connection just as a request is sent. A GET is then sent again; a publish is
                # not, because the server may have acted on it.
                if not again or cutter.cuts != cuts or not failures.is_early_close(error):
                    raise
                return attempt()
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, NsshError, ValueError) as error:
            failure = failures.from_exception(error, self.where, cutter.stderr_line)
        # Raised outside of `except`, so that no traceback shows the library's exception, which quotes the URL.
        raise failure

    def chunks(self, response: requests.Response, limit: int, deadline: float | None = None) -> Generator[bytes]:
        """Yield the body as it arrives; the connection is kept only if the body was read to its end.

        Args:
            response: What `send` returned.
            limit: The most bytes that are accepted.
            deadline: Seconds for the whole body, against a server that sends a byte now and then; None for a stream.

        Raises:
            BusError: The connection broke, or the body is shorter than announced, larger than `limit`, or too slow.
        """
        end = None if deadline is None else time.monotonic() + deadline
        total = 0
        try:
            while chunk := self._read(response):
                total += len(chunk)
                if total > limit:
                    raise BusError(f"{self.where} sent more than the {limit} bytes that are accepted", "size")
                if end is not None and time.monotonic() > end:
                    raise BusError(f"{self.where} is too slow: not done after {deadline:.0f} s", "unreachable")
                yield chunk
        finally:
            # A connection whose body was read to its end is in its pool again; any other is closed here.
            response.close()

    def _read(self, response: requests.Response) -> bytes:
        failure = None
        try:
            return bytes(response.raw.read1(CHUNK, decode_content=False))
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            failure = failures.from_exception(error, self.where)
        raise failure

    def _refusal(self, response: requests.Response, date: float | None) -> BusError:
        # The body may be shorter than announced (429 and 404 of files) or not be ntfy's: then only the status counts.
        code = 0
        try:
            body = b"".join(self.chunks(response, CHUNK, self.timeout))
            found = parse_object(body).get("code")
            code = found if type(found) is int else 0
        except (BusError, BadLineError):
            code = 0
        wait = failures.retry_after(response.headers.get("Retry-After"), date)
        return failures.from_status(response.status_code, code, wait, self.where, credentials=bool(self._auth.value))


class CuttableSession(requests.Session):
    """An HTTP session with the Cutter that holds its connections."""

    def __init__(self, cutter: Cutter) -> None:
        super().__init__()
        self.cutter = cutter


class _Authorization(AuthBase):
    """Sets the Authorization header, if there is one; its mere presence keeps requests from reading ~/.netrc."""

    def __init__(self, token: str, user: str, password: str) -> None:
        self.value = ""
        if token:
            self.value = f"Bearer {token}"
        elif user:
            self.value = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.value:
            request.headers["Authorization"] = self.value
        return request


class _Adapter(HTTPAdapter):
    """Keeps one connection; opens connections by `dial` if that is given, and adds each to the cutter.

    Certificates are judged by the authorities that this machine trusts, a company's own among them, not by requests'
    list. A file or directory named in REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE takes their place, as requests has it.
    """

    def __init__(self, dial: Callable[[], ByteStream] | None, cutter: Cutter) -> None:
        self._pools = _pool_classes(dial, cutter)
        self._tls: ssl.SSLContext | None = None
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        # SOCKS has pools of its own: requests through it can't be cut, and end by their timeouts.
        if not isinstance(manager, ProxyManager):
            return manager
        manager.pool_classes_by_scheme = self._pools
        return manager

    def build_connection_pool_key_attributes(
        self,
        request: requests.PreparedRequest,
        verify: bool | str,  # noqa: FBT001 - requests gives it so
        cert: Any = None,
    ) -> Any:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if verify is True and host["scheme"] == "https":
            pool["ssl_context"] = self._system_tls()
        return host, pool

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:  # noqa: FBT001 - as above
        if verify is not True:  # it would add requests' list
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]

    def _system_tls(self) -> ssl.SSLContext:
        # One for each adapter: handshakes that share a truststore context wait for each other.
        if self._tls is None:
            import truststore  # not needed where there is no https

            self._tls = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return self._tls


def _pool_classes(dial: Callable[[], ByteStream] | None, cutter: Cutter) -> dict[str, type[HTTPConnectionPool]]:
    """Return pool classes for urllib3 whose connections `cutter` can cut; urllib3 has no other hook for connecting."""

    class Cut(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _connect_tcp(self.host, self.port, self.timeout, cutter, self)

        def connect(self) -> None:
            with _connecting():
                super().connect()
            cutter.connected(self.sock)

        def close(self) -> None:
            super().close()
            cutter.forget(self)

    class Plain(Cut):
        def _new_conn(self) -> socket.socket:
            if dial is None:
                return super()._new_conn()
            stream = dial()
            cutter.add(self, stream)
            return as_socket(stream)

        @property
        def is_connected(self) -> bool:
            try:
                return super().is_connected
            except (OSError, ValueError):  # the stream was closed, and has no descriptor any more
                return False

    class Secure(Cut, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


@contextlib.contextmanager
def _connecting() -> Generator[None]:
    """Replace errors of connecting that urllib3 would take for a request that broke off, whose answer it would read."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ECONNRESET, errno.EPIPE, errno.EPROTOTYPE}:
            raise
        raise ConnectionAbortedError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED)) from error


def _connect_unix(path: str, timeout: float) -> socket.socket:
    sock = socket.socket(fileno=open_unix(path, timeout).detach())
    sock.settimeout(timeout)
    return sock


def _connect_tcp(host: str, port: int, timeout: float | None, cutter: Cutter, owner: object) -> socket.socket:
    """Connect to the first address that answers; each attempt is added to the cutter, which can end it early."""
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            cutter.add(owner, sock)
            sock.settimeout(timeout)
            # A request is two writes, head and body: Nagle's algorithm would delay the second by a round trip.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Keepalives keep idle connections in the tables of routers, and find dead ones before they are needed.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
                if hasattr(socket, name):  # macOS has another name for the first
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
            sock.connect(address)
        except OSError as error:
            failure = error
            cutter.forget(owner)
            sock.close()
        except BaseException:
            cutter.forget(owner)
            sock.close()
            raise
        else:
            return sock
    raise failure
