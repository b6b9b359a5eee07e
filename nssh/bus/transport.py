"""HTTP to one bus server with requests: over TCP or TLS, a unix socket, or streams that somebody dials for us."""

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

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Generator, Mapping

    from nssh.bus.upload import Upload
    from nssh.ssh.connection import ByteStream

CHUNK: Final = 65536

# urllib3 logs URLs, and URLs hold the topic: "Failed to parse headers (url=…)" is even a warning, which Python prints
# to stderr when nobody configured logging.
logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)


class Address(NamedTuple):
    """A server as a configuration names it, taken apart."""

    base: str
    """`http(s)://host[:port][/prefix]`, without a slash at the end; a placeholder host where streams are dialled."""
    where: str
    """How errors name it: host and port, or the relay."""
    dial: Callable[[], ByteStream] | None
    user: str = ""
    password: str = ""


def parse_address(server: str, dial: Callable[[], ByteStream] | None, timeout: float) -> Address:
    """Take `http(s)://…`, `unix:/path`, or with `dial` any name, apart.

    Raises:
        BusError: It is none of these (kind `request`).
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
    """Makes sessions to one server and sends requests over them, with errors explained as `BusError`.

    Usable from any thread; a session from one thread at a time, except that its Cutter may be cut by any.
    """

    def __init__(self, address: Address, *, token: str, user: str, password: str, timeout: float) -> None:
        """Keep the settings; nothing is opened.

        Args:
            address: The server.
            token: Sent as bearer, if not empty; takes precedence.
            user: Sent with the password as basic authentication, if not empty.
            password: See user.
            timeout: Seconds for connecting and for each wait for bytes.

        Raises:
            BusError: The token holds what no header can carry.
        """
        self.where = address.where
        self.timeout = timeout
        self.server_time: float | None = None
        """The newest server time seen: seconds since the epoch, from Date headers; see `saw_time`."""
        self._address = address
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise BusError("the token holds characters that no token has: check token in config.toml", "auth")
        self._auth = _Authorization(token, user or address.user, password or address.password)

    def saw_time(self, server_time: float) -> None:
        """Take note of the server's time, from an open event, say."""
        self.server_time = server_time

    def session(self, cutter: Cutter) -> Session:
        """Return a session that keeps one connection, whose connections can be cut by `cutter`."""
        session = Session(cutter)
        # Proxies and CA bundles from the environment are for servers out there, not for a socket of our own. netrc is
        # never asked, because every request has an `auth`, if an empty one.
        session.trust_env = self._address.dial is None
        session.auth = self._auth
        session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        session.headers.update({"User-Agent": f"nssh/{nssh.__version__}", "Accept-Encoding": "identity"})
        adapter = _Adapter(self._address.dial, cutter)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session

    def send(
        self,
        session: Session,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | io.BytesIO | Upload | None = None,
    ) -> requests.Response:
        """Send a request and return its answer, 200 and not compressed, with the body still to be read.

        Raises:
            BusError: Anything else.
        """

        def attempt() -> requests.Response:
            return session.request(
                method,
                self._address.base + path,
                params=params,
                headers=headers,
                data=data,
                timeout=self.timeout,
                allow_redirects=False,  # a redirect would take the token along
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
        """Return what `attempt` returns, tried once more in a certain case if `again`, or raise BusError."""
        cuts = cutter.cuts
        failure = None
        try:
            try:
                return attempt()
            except (requests.ConnectionError, urllib3.exceptions.HTTPError, OSError) as error:
                # A server may close a kept connection at the moment when a request is sent. What changes nothing is
                # then asked again; a publish is not, because the server may have it.
                if not again or cutter.cuts != cuts or not failures.is_early_close(error):
                    raise
                return attempt()
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, NsshError, ValueError) as error:
            failure = failures.from_exception(error, self.where, cutter.last_words)
        # Raised out here, so that no traceback shows the library's exception, which quotes the URL.
        raise failure

    def chunks(self, response: requests.Response, limit: int, deadline: float | None = None) -> Generator[bytes]:
        """Yield the body as it arrives, `limit` bytes at most; the connection is kept only if all of it was read.

        Args:
            response: What `send` returned.
            limit: Bytes.
            deadline: Seconds for all of it, or None: a server that sends a byte now and then is not let to hold us.

        Raises:
            BusError: The connection broke, the body is shorter than announced, larger than `limit`, or too slow.
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
            # The connection went back to its pool if the body was read to its end; otherwise this closes it.
            response.close()

    def _read(self, response: requests.Response) -> bytes:
        failure = None
        try:
            return bytes(response.raw.read1(CHUNK, decode_content=False))
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            failure = failures.from_exception(error, self.where)
        raise failure

    def _refusal(self, response: requests.Response, date: float | None) -> BusError:
        # The body may be shorter than announced (429 and 404 of files), or not be ntfy's: then its status must do.
        code = 0
        try:
            body = b"".join(self.chunks(response, CHUNK, self.timeout))
            found = parse_object(body).get("code")
            code = found if type(found) is int else 0
        except (BusError, BadLineError):
            code = 0
        wait = failures.retry_after(response.headers.get("Retry-After"), date)
        return failures.from_status(response.status_code, code, wait, self.where, credentials=bool(self._auth.value))


class Session(requests.Session):
    """A session that knows its cutter."""

    def __init__(self, cutter: Cutter) -> None:
        super().__init__()
        self.cutter = cutter


class _Authorization(AuthBase):
    """Sets the Authorization header, or none; being there at all keeps requests from reading ~/.netrc."""

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
    """Keeps one connection; makes them by `dial` if there is one, and tells the cutter of each.

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
        # SOCKS brings pools of its own; requests over it can't be cut, and end by their timeouts.
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
    """Return urllib3's pools, making connections that `cutter` can cut; urllib3 offers no other way to say how."""

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
            except (OSError, ValueError):  # whoever dialled it closed it: there is no descriptor to look at
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
    """Let no failure to connect look like a request that broke off: urllib3 would go on to read its answer."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ECONNRESET, errno.EPIPE, errno.EPROTOTYPE}:
            raise
        raise ConnectionAbortedError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED)) from error


def _connect_unix(path: str, timeout: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_tcp(host: str, port: int, timeout: float | None, cutter: Cutter, owner: object) -> socket.socket:
    """Connect to the first address that answers; the cutter knows each attempt, so that it need not time out."""
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            cutter.add(owner, sock)
            sock.settimeout(timeout)
            # A request is two writes, head and body: Nagle's algorithm would hold the second for a round trip.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Idle connections stay known to the routers on the way, and dead ones are found while nobody waits.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
                if hasattr(socket, name):  # macOS calls the first one otherwise
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
