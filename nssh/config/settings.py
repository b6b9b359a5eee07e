"""Reads the configuration from `$XDG_CONFIG_HOME/nssh/config.toml` and the environment, and checks it.

This runs before ssh starts: without a file nothing beyond `typing` is imported. `toml_document`, which reads the file,
and `shlex` are imported by the functions that need them.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from nssh.base.durations import parse_duration
from nssh.base.errors import ConfigError
from nssh.wire import CONTENT_LIMIT
from nssh.wire.files import config_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nssh.config.toml_document import Document

_T = TypeVar("_T")
_SIZE_LIMIT = 64 << 10
_UNITS = {"": 1, "b": 1, "kb": 1000, "kib": 1 << 10, "mb": 1000_000, "mib": 1 << 20}
_TOPIC_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


class SshConfig(NamedTuple):
    """`[ssh]`: the command for every ssh that nssh starts."""

    command: tuple[str, ...] = ("ssh",)


class MoshConfig(NamedTuple):
    """`[mosh]`: the mosh wrapper to use, empty for none, and mosh-server's time limits in seconds.

    A mosh-server ends by itself if its client was silent for `network_timeout`, and at a SIGUSR1 if it was silent for
    `signal_timeout`. With 0, mosh-server is given no such limit.
    """

    command: tuple[str, ...] = ()
    network_timeout: float = 720 * 3600.0
    signal_timeout: float = 60.0


class BrowserConfig(NamedTuple):
    """`[browser]`: the command that opens URLs; empty for the system's."""

    command: tuple[str, ...] = ()


class ClipboardConfig(NamedTuple):
    """`[clipboard]`: commands in place of this machine's clipboard, empty for the system's; and limits in bytes."""

    copy: tuple[str, ...] = ()
    """The command that puts its stdin, which comes from the remote, on the clipboard."""
    paste: tuple[str, ...] = ()
    """The command that prints the clipboard for the remote."""
    copy_limit: int = CONTENT_LIMIT
    paste_limit: int = CONTENT_LIMIT


class LogConfig(NamedTuple):
    """`[log]`: how long event logs are kept, in seconds."""

    keep: float = 30 * 86400.0


class SweepConfig(NamedTuple):
    """`[sweep]`: the age in seconds from which unused mosh-servers are ended at each connect; None for never."""

    on_connect: float | None = None


class Config(NamedTuple):
    """The whole configuration; its repr shows no secret."""

    server: str = "relay"
    """`relay`, or the base URL of an ntfy server, without a slash at its end."""
    topic: str | None = None
    token: str | None = None
    user: str | None = None
    password: str | None = None
    ssh: SshConfig = SshConfig()
    mosh: MoshConfig = MoshConfig()
    browser: BrowserConfig = BrowserConfig()
    clipboard: ClipboardConfig = ClipboardConfig()
    log: LogConfig = LogConfig()
    sweep: SweepConfig = SweepConfig()

    def __repr__(self) -> str:
        shown = (f"{n}={'…' if n in _SECRET and v is not None else repr(v)}" for n, v in self._asdict().items())
        return f"Config({', '.join(shown)})"


_SECRET = frozenset({"topic", "token", "user", "password"})


def config_path(environ: Mapping[str, str] = os.environ) -> str:
    """Return the path of `config.toml`, which may not exist."""
    return f"{config_dir(environ)}/config.toml"


def load(environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check the configuration. Without a file, or with an empty one, return the defaults.

    `NSSH_NTFY_BASE` overrides `server`, and `NSSH_SSH` overrides `[ssh] command`, unless they are empty.

    Raises:
        ConfigError: The file or a variable can't be used. The text tells file, line, key and what to do.
    """
    path = config_path(environ)
    home = environ.get("HOME", "")
    data, mode = _read(path)
    config = Config()
    if data.strip():
        from nssh.config.toml_document import Document

        config = _read_document(Document(path, data, _TOP, _TABLES), mode, home)
    base, ssh = environ.get("NSSH_NTFY_BASE"), environ.get("NSSH_SSH")
    if base:
        config = config._replace(server=_from_environment("NSSH_NTFY_BASE", base, _server))
    if ssh:
        command: tuple[str, ...] = _from_environment("NSSH_SSH", ssh, lambda value: split_command(value, home))
        config = config._replace(ssh=SshConfig(command))
    return config


def split_command(value: str, home: str = "") -> tuple[str, ...]:
    """Split a command line into words as a shell does, and expand `~/` at the beginning of a word. Expand nothing else.

    Raises:
        ValueError: The command line is empty, or has an open quote or a NUL.
    """
    if "\0" in value:
        raise ValueError("holds a NUL character")
    if value.isascii() and value.isprintable() and not any(char in value for char in "'\"\\"):
        words = value.split()
    else:
        import shlex

        try:
            words = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"is not a command line ({str(error).lower()})") from None
    if not words or not words[0]:
        raise ValueError("names no program")
    return tuple(home + word[1:] if home and word.startswith("~/") else word for word in words)


def _read(path: str) -> tuple[bytes, int]:
    try:
        # O_NONBLOCK: opening a FIFO in the file's place would block.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return b"", 0
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror}); fix its permissions or move it away") from None
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError(f"{path}: is not a regular file; move it away")
        data = b""
        while len(data) <= _SIZE_LIMIT and (part := os.read(fd, _SIZE_LIMIT + 1)):
            data += part
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from None
    finally:
        os.close(fd)
    if len(data) > _SIZE_LIMIT:
        raise ConfigError(f"{path}: is larger than {_SIZE_LIMIT >> 10} KiB; is it really a configuration of nssh?")
    return data.removeprefix(b"\xef\xbb\xbf"), mode


def _from_environment(variable: str, value: str, check: Callable[[str], _T]) -> _T:
    try:
        return check(value)
    except ValueError as error:
        raise ConfigError(f"the environment variable {variable} {error}") from None


def _server(value: str) -> str:
    """Check a server's URL without `urllib`, whose import takes as long as the rest of this module."""
    if value == "relay":
        return value
    wanted = 'must be "relay" or the URL of an ntfy server, like "https://ntfy.example.com"'
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in {"http", "https"} or not value.isascii() or not value.isprintable():
        raise ValueError(wanted)
    if "@" in rest:
        raise ValueError('must not hold credentials; use the keys "user" and "password", or "token"')
    authority = rest.partition("/")[0]
    # [::1]:80 has its port after the bracket
    host, colon, port = authority.rpartition(":") if ":" in authority.rpartition("]")[2] else (authority, "", "")
    good_port = not colon or (port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536)
    if not host or not good_port or any(char in rest for char in ' ?#\\"<>') or (":" in host and host[0] != "["):
        raise ValueError(wanted)
    return value.rstrip("/")


def _topic(value: str) -> str:
    if not 1 <= len(value) <= 64 or not _TOPIC_CHARS.issuperset(value):
        raise ValueError("must be 1 to 64 letters, digits, - and _ of ASCII (what ntfy takes)")
    return value


def _secret(value: str) -> str:
    # The value is sent in a header, which a line break would end.
    if not value or not value.isprintable():
        raise ValueError("must be text on one line, and not empty")
    return value


def _token(value: str) -> str:
    if not _secret(value).isascii() or " " in value:
        raise ValueError("must be one word of ASCII")
    return value


def _bytes(value: str) -> int:
    """Read a size: a number, and KiB, MiB, KB or MB."""
    number = value.rstrip("abiklmABIKLM ")
    factor = _UNITS.get(value[len(number) :].strip().lower())
    if factor is None or not (number.isascii() and number.isdigit()) or len(number) > 9:
        raise ValueError('must be a size, like "512 KiB" or "20 MB"')
    if int(number) * factor > CONTENT_LIMIT:
        raise ValueError(f'must be at most "{CONTENT_LIMIT >> 20} MiB", which is the most that can be sent')
    return int(number) * factor


def _user(value: str) -> str:
    if ":" in _secret(value):
        raise ValueError("must not hold a colon")
    return value


_TABLES = {name: table._fields for name, table in Config._field_defaults.items() if hasattr(table, "_fields")}
_TOP = tuple(name for name in Config._fields if name not in _TABLES)


def _read_document(document: Document, mode: int, home: str) -> Config:
    """Return the configuration in a `config.toml`; `mode` is the file's mode, `home` replaces `~`."""

    def command(name: str) -> tuple[str, ...]:
        return document.words(name, lambda value: split_command(value, home))

    def age(name: str) -> float | None:
        return document.text(name, parse_duration, "168h")

    def duration(name: str, default: float) -> float:
        value = age(name)
        return default if value is None else value

    def size(name: str) -> int:
        value = document.text(name, _bytes, "20 MB")
        return CONTENT_LIMIT if value is None else value

    config = Config(
        server=document.text("server", _server) or "relay",
        topic=document.text("topic", _topic),
        token=document.text("token", _token),
        user=document.text("user", _user),
        password=document.text("password", _secret),
        ssh=SshConfig(command("ssh.command") or ("ssh",)),
        mosh=MoshConfig(
            command("mosh.command"),
            duration("mosh.network_timeout", MoshConfig().network_timeout),
            duration("mosh.signal_timeout", MoshConfig().signal_timeout),
        ),
        browser=BrowserConfig(command("browser.command")),
        clipboard=ClipboardConfig(
            command("clipboard.copy"),
            command("clipboard.paste"),
            size("clipboard.copy_limit"),
            size("clipboard.paste_limit"),
        ),
        log=LogConfig(duration("log.keep", LogConfig().keep)),
        sweep=SweepConfig(age("sweep.on_connect")),
    )
    if (config.user is None) != (config.password is None):
        given, missing = ("user", "password") if config.password is None else ("password", "user")
        raise document.error(given, f'needs "{missing}" beside it')
    if config.token is not None and config.user is not None:
        raise document.error("token", 'can\'t be used together with "user" and "password"; keep one of the two')
    if mode & 0o002:
        raise ConfigError(f"{document.path}: anybody may change it, and it names programs; chmod 600 {document.path}")
    if mode & 0o077 and (config.token is not None or config.password is not None):
        secret = "token" if config.token is not None else "password"
        raise document.error(secret, f"is in a file that others can open; chmod 600 {document.path}")
    return config
