"""Logins on a remote whose answer comes to a port there: played by a browser on the laptop, over the real program."""

from __future__ import annotations

import http.client
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.lab.laptop import Laptop, RemoteShell
from tests.lab.netns import Namespace
from tests.lab.sshd import Sshd
from tests.lab.tools import DEADLINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

# A program that logs in as gh and gcloud do: it opens the browser, waits for one callback, and prints what came.
LOGIN = """
import http.server, subprocess, sys, urllib.parse
host, path, redirect, pattern = sys.argv[1:5]
class Handler(http.server.BaseHTTPRequestHandler):
    code = None
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path != path:
            self.send_error(404)
            return
        Handler.code = urllib.parse.parse_qs(url.query)["code"][0]
        body = b"logged in: close this window"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
if ":" in host:
    http.server.HTTPServer.address_family = __import__("socket").AF_INET6
server = http.server.HTTPServer((host, int(sys.argv[5])), Handler)
port = server.server_address[1]
url = pattern.replace("REDIRECT", urllib.parse.quote(redirect.replace("PORT", str(port)), safe=""))
subprocess.run(["xdg-open", url], check=True)
while Handler.code is None:
    server.handle_request()
print("code", Handler.code)
"""


@pytest.fixture(scope="module")
def apart() -> Iterator[Sshd]:
    """A remote with nssh on it, whose loopback is not the laptop's."""
    with Namespace() as network, Sshd(network=network) as sshd:
        sshd.write_home("login.py", LOGIN)
        Laptop(sshd.client).infect()
        yield sshd


@pytest.fixture
def laptop(apart: Sshd) -> Iterator[Laptop]:
    laptop = Laptop(apart.client)
    yield laptop
    laptop.wait_gone()
    assert laptop.tracebacks() == ""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_login_is_finished(laptop: Laptop) -> None:
    with RemoteShell(laptop) as shell:
        laptop.wait_up()
        results = []
        redirect = "http://127.0.0.1:PORT/callback"
        pattern = "https://provider.example/?redirect_uri=REDIRECT&state=x"
        run = threading.Thread(
            target=lambda: results.append(shell.run(f"python3 ~/login.py 127.0.0.1 /callback {redirect} '{pattern}' 0"))
        )
        run.start()
        wait_until(lambda: results or laptop.opened(), "the browser is sent on its way")
        assert not results, results
        url = laptop.opened()[-1]
        port = int(url.partition("127.0.0.1%3A")[2].partition("%2F")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        connection.request("GET", "/callback?code=secret&state=x")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"logged in: close this window")
        run.join(DEADLINE)
        assert results == [(0, b"code secret\n")]
    print(laptop.events())
