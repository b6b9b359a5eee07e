"""A login as gh and gcloud do it: the program on the remote, the provider, the browser's part."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import itertools
import threading
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import psutil

from tests.lab.laptop import Laptop, RemoteShell
from tests.lab.tools import DEADLINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.sshd import Sshd


# A program that logs in as gh and gcloud do: it opens the browser, waits for one callback, and prints what came. Its
# server deals with one connection after another, as theirs do: one that says nothing would hold up all others.
LOGIN = """
import http.server, os, socket, subprocess, sys, urllib.parse

redirect, provider = sys.argv[1:3]
host = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
wanted = urllib.parse.urlsplit(redirect.replace("PORT", "0"))


class Handler(http.server.BaseHTTPRequestHandler):
    code = None

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path != (wanted.path or "/"):
            self.send_error(404)
            return
        Handler.code = urllib.parse.parse_qs(url.query)["code"][0]
        body = b"logged in as %s" % Handler.code.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6 if ":" in host else socket.AF_INET


server = Server((host, wanted.port or 0), Handler)
redirect = redirect.replace("PORT", str(server.server_address[1]))
subprocess.run(["xdg-open", provider + urllib.parse.quote(redirect, safe="")], check=True)
while Handler.code is None:
    server.handle_request()
print("got", Handler.code)
"""


GH = "http://127.0.0.1:PORT/callback"


def prepared(sshd: Sshd) -> Sshd:
    sshd.write_home("login.py", LOGIN)
    Laptop(sshd.client).infect()
    return sshd


@contextlib.contextmanager
def seen_off(laptop: Laptop) -> Iterator[Laptop]:
    """See that nothing of it is left, and that nobody was told what the callbacks said."""
    laptop.opened_file.unlink(missing_ok=True)
    for path in (*laptop.state.glob("logs/*"), *laptop.state.glob("topics/*.callbacks")):
        path.unlink()
    yield laptop
    laptop.wait_gone()
    assert laptop.tracebacks() == ""
    for path in laptop.state.rglob("*"):
        if path.is_file():
            assert b"c0de_of_this_login_" not in path.read_bytes(), path


class Login:
    """A login that is under way on the remote, in a shell of its own session."""

    def __init__(
        self, shell: RemoteShell, redirect: str = GH, provider: str = "https://provider.example/?r=", host: str = ""
    ) -> None:
        self.laptop = shell.laptop
        self.results: list[tuple[int, bytes]] = []
        before = len(self.laptop.opened())
        command = f"python3 ~/login.py '{redirect}' '{provider}' {host}"
        self._thread = threading.Thread(target=lambda: self.results.append(shell.run(command)), daemon=True)
        self._thread.start()
        wait_until(lambda: self.results or len(self.laptop.opened()) > before, "the browser is sent on its way")
        assert not self.results, self.results
        self.url = self.laptop.opened()[before]
        self.callback = urlsplit(parse_qs(urlsplit(self.url).query)["r"][0])
        assert self.callback.port is not None
        self.port: int = self.callback.port

    def answer(self, code: str, host: str = "127.0.0.1") -> str:
        """Bring the answer, as a browser does in the end; return what the program shows."""
        connection = http.client.HTTPConnection(host, self.port, timeout=DEADLINE)
        with contextlib.closing(connection):
            connection.request("GET", f"{self.callback.path or '/'}?state=x&code={code}")
            return connection.getresponse().read().decode()

    def finish(self, code: str) -> None:
        """Wait until the program has what it waited for."""
        self._thread.join(DEADLINE)
        assert self.results == [(0, f"got {code}\n".encode())]


class Provider:
    """Where users log in: it sends the browser back to whoever asked. Not on an address that could be a callback."""

    def __init__(self) -> None:
        self._codes = itertools.count(1)
        self.last = ""
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                provider.last = f"c0de_of_this_login_{next(provider._codes)}"
                back = f"{query['r'][0]}?state=x&code={provider.last}"
                if self.path.startswith("/redirect"):
                    self.send_response(302)
                    self.send_header("Location", back)
                    self.end_headers()
                    return
                page = PAGE.replace("BACK", back).replace("ORIGIN", back.partition("?")[0]).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.2", 0), Handler)
        self.url = f"http://127.0.0.2:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


# A page on which the user would press a button: the browser connects ahead of time, and asks for an icon there.
PAGE = """\
<html><head><link rel="preconnect" href="ORIGIN"><link rel="icon" href="ORIGINfavicon.ico"></head>
<body>sign in<script>setTimeout(function () { location.href = "BACK" }, 60)</script></body></html>
"""


def is_listened_on(port: int) -> bool:
    return any(one.status == psutil.CONN_LISTEN and one.laddr[1:] == (port,) for one in psutil.net_connections("tcp"))


def wait_joined(laptop: Laptop) -> None:
    """Wait until one session acts and another stands by."""
    wait_until(lambda: {one.role for one in laptop.sessions()} == {"leader", "standby"}, "one stands by")
