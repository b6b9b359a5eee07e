"""What the user configured: `$XDG_CONFIG_HOME/nssh/config.toml` and the environment, checked, as one frozen value.

This is on the way to ssh: without a file nothing beyond `typing` is imported; the TOML parser, `shlex` and `difflib`
are imported by what needs them.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from nssh.durations import parse_duration
from nssh.errors import ConfigError
from nssh.wire.files import config_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_T = TypeVar("_T")
_SIZE_LIMIT = 64 << 10
LARGEST = 64 << 20
"""Bytes that the clipboard bridge carries at most, either way."""
_UNITS = {"": 1, "b": 1, "kb": 1000, "kib": 1 << 10, "mb": 1000_000, "mib": 1 << 20}
_TOPIC_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


class SshConfig(NamedTuple):
    """`[ssh]`: the command for every ssh that nssh starts."""

    command: tuple[str, ...] = ("ssh",)


class MoshConfig(NamedTuple):
    """`[mosh]`: `command` is empty unless the user set one, which means that the mosh wrapper is to be used.

    A mosh-server ends itself after `network_timeout` seconds without a word of its client, and heeds SIGUSR1, which
    means "if nobody uses you", after `signal_timeout` seconds. With 0 it is not told.
    """

    command: tuple[str, ...] = ()
    network_timeout: float = 720 * 3600.0
    signal_timeout: float = 60.0


class BrowserConfig(NamedTuple):
    """`[browser]`: the command that opens URLs; empty unless the user set one."""

    command: tuple[str, ...] = ()


class ClipboardConfig(NamedTuple):
    """`[clipboard]`: commands in place of this machine's clipboard, empty unless set, and limits in bytes."""

    copy: tuple[str, ...] = ()
    """Puts its stdin, which comes from the remote, on the clipboard."""
    paste: tuple[str, ...] = ()
    """Prints the clipboard for the remote."""
    copy_limit: int = LARGEST
    paste_limit: int = LARGEST


class LogConfig(NamedTuple):
    """`[log]`: how long event logs are kept, seconds."""

    keep: float = 30 * 86400.0


class SweepConfig(NamedTuple):
    """`[sweep]`: the age (seconds) from which old mosh-servers are ended on connect; None leaves them alone."""

    on_connect: float | None = None


class Config(NamedTuple):
    """The whole configuration; its repr shows no secret."""

    server: str = "relay"
    """`relay`, or the base URL of an ntfy server without a slash at its end."""
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
    """Return where `config.toml` is looked for; it need not exist."""
    return f"{config_dir(environ)}/config.toml"


def load(environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check the configuration; no file, or an empty one, means the defaults.

    `NSSH_NTFY_BASE` beats `server` and `NSSH_SSH` beats `[ssh] command`; an empty variable counts as unset.

    Raises:
        ConfigError: The file or a variable can't be used; one line with the file, line, key and what to do.
    """
    path = config_path(environ)
    home = environ.get("HOME", "")
    data, mode = _read(path)
    config = _Document(path, data, home).config(mode) if data.strip() else Config()
    base, ssh = environ.get("NSSH_NTFY_BASE"), environ.get("NSSH_SSH")
    if base:
        config = config._replace(server=_from_environment("NSSH_NTFY_BASE", base, _server))
    if ssh:
        command: tuple[str, ...] = _from_environment("NSSH_SSH", ssh, lambda value: split_command(value, home))
        config = config._replace(ssh=SshConfig(command))
    return config


def split_command(value: str, home: str = "") -> tuple[str, ...]:
    """Split a command line into words as a shell would, a leading `~/` of a word included; nothing else is expanded.

    Raises:
        ValueError: It holds no word, an open quote or a NUL.
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
        # O_NONBLOCK: a FIFO in the file's place must not hang the way to ssh.
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
    """Check a server without `urllib`, which would cost as much as the rest of this module."""
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
    # It becomes a header: a line break would end it.
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
    if int(number) * factor > LARGEST:
        raise ValueError(f'must be at most "{LARGEST >> 20} MiB", which is the most that can be sent')
    return int(number) * factor


def _user(value: str) -> str:
    if ":" in _secret(value):
        raise ValueError("must not hold a colon")
    return value


_TYPES = {str: "a string", bool: "true or false", int: "an integer", float: "a number", list: "a list", dict: "a table"}
_TOP = ("server", "topic", "token", "user", "password")
_TABLES = {
    "ssh": ("command",),
    "mosh": ("command", "network_timeout", "signal_timeout"),
    "browser": ("command",),
    "clipboard": ("copy", "paste", "copy_limit", "paste_limit"),
    "log": ("keep",),
    "sweep": ("on_connect",),
}


class _Document:
    """One `config.toml`: its text, for the line numbers of errors, and what it says."""

    def __init__(self, path: str, data: bytes, home: str) -> None:
        self._path = path
        self._home = home
        try:
            self._text = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ConfigError(f"{path}:{line}: is not UTF-8; save the file in that encoding") from None
        self._values = self._parse()

    def _parse(self) -> dict[str, Any]:
        import tomllib

        try:
            return tomllib.loads(self._text)
        except RecursionError:
            raise ConfigError(f"{self._path}: nests its values too deeply") from None
        except ValueError as error:  # TOMLDecodeError, and a plain one for an integer of too many digits
            reason, _, place = str(error).partition(" (at ")
            number = place.removeprefix("line ").partition(",")[0]
            line = int(number) if number.isdecimal() else len(self._text.splitlines())
            raise ConfigError(f"{self._path}:{line}: is not TOML here: {reason[:1].lower()}{reason[1:]}") from None

    def config(self, mode: int) -> Config:
        self._refuse_unknown_keys()
        config = Config(
            server=self._get("server", _server) or "relay",
            topic=self._get("topic", _topic),
            token=self._get("token", _token),
            user=self._get("user", _user),
            password=self._get("password", _secret),
            ssh=SshConfig(self._command("ssh.command") or ("ssh",)),
            mosh=MoshConfig(
                self._command("mosh.command"),
                self._duration("mosh.network_timeout", MoshConfig().network_timeout),
                self._duration("mosh.signal_timeout", MoshConfig().signal_timeout),
            ),
            browser=BrowserConfig(self._command("browser.command")),
            clipboard=ClipboardConfig(
                self._command("clipboard.copy"),
                self._command("clipboard.paste"),
                self._size("clipboard.copy_limit"),
                self._size("clipboard.paste_limit"),
            ),
            log=LogConfig(self._duration("log.keep", LogConfig().keep)),
            sweep=SweepConfig(self._get("sweep.on_connect", parse_duration)),
        )
        if (config.user is None) != (config.password is None):
            given, missing = ("user", "password") if config.password is None else ("password", "user")
            raise self._error(given, f'needs "{missing}" beside it')
        if config.token is not None and config.user is not None:
            raise self._error("token", 'can\'t be used together with "user" and "password"; keep one of the two')
        if mode & 0o002:
            raise ConfigError(f"{self._path}: anybody may change it, and it names programs; chmod 600 {self._path}")
        if mode & 0o077 and (config.token is not None or config.password is not None):
            secret = "token" if config.token is not None else "password"
            raise self._error(secret, f"is in a file that others can open; chmod 600 {self._path}")
        return config

    def _refuse_unknown_keys(self) -> None:
        for name, value in self._values.items():
            if name in _TABLES:
                if not isinstance(value, dict):
                    raise self._error(name, f"must be a table ([{name}]), not {_type_name(value)}")
                for key in value:
                    if key not in _TABLES[name]:
                        raise self._error(f"{name}.{key}", f"is unknown; {self._suggest(key, name)}")
            elif name not in _TOP:
                raise self._error(name, f"is unknown; {self._suggest(name, '')}")

    def _suggest(self, key: str, table: str) -> str:
        import difflib

        if table and key in _TOP:
            return f'"{key}" must stand above the first [table]'
        everywhere = {f"{owner}.{name}": name for owner, names in _TABLES.items() for name in names}
        here = {_dotted(table, name): name for name in (_TABLES[table] if table else (*_TOP, *_TABLES))}
        for known, closeness in ((everywhere, 1.0), (here, 0.6), (everywhere | {name: name for name in _TOP}, 0.6)):
            near = difflib.get_close_matches(key, known.values(), 1, closeness)
            if near:
                places = [place for place, name in known.items() if name == near[0]]
                return 'did you mean "{}"?'.format('" or "'.join(places))
        return f"known here: {', '.join(here.values())}"

    def _get(self, name: str, check: Callable[[str], _T]) -> _T | None:
        value = self._value(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._error(name, f"must be a string, not {_type_name(value)}")
        return self._checked(name, lambda: check(value))

    def _duration(self, name: str, default: float) -> float:
        value = self._get(name, parse_duration)
        return default if value is None else value

    def _size(self, name: str) -> int:
        value = self._get(name, _bytes)
        return LARGEST if value is None else value

    def _command(self, name: str) -> tuple[str, ...]:
        value = self._value(name)
        if value is None:
            return ()
        if isinstance(value, str):
            return self._checked(name, lambda: split_command(value, self._home))
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self._error(name, "must be a string or a list of strings")
        if not value or not value[0]:
            raise self._error(name, "names no program")
        if any("\0" in word for word in value):
            raise self._error(name, "holds a NUL character")
        return tuple(value)

    def _value(self, name: str) -> Any:
        table, _, key = name.rpartition(".")
        return (self._values.get(table, {}) if table else self._values).get(key)

    def _checked(self, name: str, check: Callable[[], _T]) -> _T:
        try:
            return check()
        except ValueError as error:
            raise self._error(name, str(error)) from None

    def _error(self, name: str, what: str) -> ConfigError:
        shown = "".join(char if char.isprintable() else "?" for char in name[:80])
        return ConfigError(f'{self._path}:{self._line(name)}: "{shown}" {what}')

    def _line(self, name: str) -> int:
        """Find the line on which a key's statement begins.

        A document cut after some line parses if and only if the cut is between statements, and the key is there from
        its own statement on: so this needs no second TOML parser.
        """
        import tomllib

        table, _, key = name.rpartition(".") if name.partition(".")[0] in _TABLES else ("", "", name)
        lines = self._text.split("\n")
        start = 1
        for count in range(1, len(lines) + 1):
            try:
                values = tomllib.loads("\n".join(lines[:count]))
            except ValueError:
                continue
            found = values.get(table, {}) if table else values
            if isinstance(found, dict) and key in found:
                return start
            start = count + 1
        return min(start, len(lines))


def _dotted(table: str, key: str) -> str:
    return f"{table}.{key}" if table else key


def _type_name(value: object) -> str:
    return _TYPES.get(type(value), "a date or time")
