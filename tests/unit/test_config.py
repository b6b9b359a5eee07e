from __future__ import annotations

import gc
import os
import shlex
import string
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.base.errors import ConfigError
from nssh.config.settings import (
    BrowserConfig,
    Config,
    LogConfig,
    MoshConfig,
    SshConfig,
    SweepConfig,
    load,
    split_command,
)
from nssh.wire import CONTENT_LIMIT

if TYPE_CHECKING:
    from pathlib import Path


class Home:
    """A private configuration directory, and the environment that points there."""

    def __init__(self, path: Path) -> None:
        self.file = path / "nssh" / "config.toml"
        self.file.parent.mkdir()
        self.environ = {"XDG_CONFIG_HOME": str(path), "HOME": "/home/me"}

    def load(self, text: str | bytes, mode: int = 0o600) -> Config:
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.file.chmod(mode)
        return load(self.environ)

    def refuse(self, text: str | bytes, mode: int = 0o600) -> str:
        """Return the error's text without the path of the file, once it proved to be one line that names it."""
        with pytest.raises(ConfigError) as caught:
            self.load(text, mode)
        message = str(caught.value)
        assert message.startswith(str(self.file))
        assert "\n" not in message
        return message.removeprefix(str(self.file)).lstrip(":")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_no_file_and_an_empty_one_mean_the_defaults(home: Home) -> None:
    defaults = Config(
        "relay", None, None, None, None, SshConfig(("ssh",)), MoshConfig((), 2592000.0), BrowserConfig(())
    )
    assert load(home.environ) == defaults == Config()
    assert home.load("\n \n") == defaults
    assert home.load("# nothing\n") == defaults


def test_every_key(home: Home) -> None:
    config = home.load(
        """\
server = "https://ntfy.example.com:8443/"
topic = "nssh_abc-1"
user = "me"
password = "påss: word"
[ssh]
command = "ssh -F '~/a b' -o X=~ ~/c"
[mosh]
command = ["/opt/mosh", "--no-init"]
network_timeout = "24h"
signal_timeout = "5m"
[browser]
command = "firefox --new-tab %s"
[log]
keep = "7d"
[sweep]
on_connect = "168h"
"""
    )
    assert config == Config(
        server="https://ntfy.example.com:8443",
        topic="nssh_abc-1",
        user="me",
        password="påss: word",
        ssh=SshConfig(("ssh", "-F", "/home/me/a b", "-o", "X=~", "/home/me/c")),
        mosh=MoshConfig(("/opt/mosh", "--no-init"), 86400.0, 300.0),
        browser=BrowserConfig(("firefox", "--new-tab", "%s")),
        log=LogConfig(604800.0),
        sweep=SweepConfig(604800.0),
    )


def test_no_more_than_can_be_sent(home: Home) -> None:
    home.load(f'[clipboard]\ncopy_limit = "{CONTENT_LIMIT} B"\n')
    for key in ("copy_limit", "paste_limit"):
        assert "64 MiB" in home.refuse(f'[clipboard]\n{key} = "{CONTENT_LIMIT + 1} B"\n')


def test_inline_tables_dotted_keys_and_a_byte_order_mark_are_toml_too(home: Home) -> None:
    config = home.load(b'\xef\xbb\xbfssh = {command = "a"}\r\nlog.keep = "1d"\r\n')
    assert (config.ssh.command, config.log.keep) == (("a",), 86400.0)


def test_the_environment_beats_the_file(home: Home) -> None:
    home.environ |= {"NSSH_NTFY_BASE": "http://127.0.0.1:1234/", "NSSH_SSH": "ssh -F 'a b'"}
    config = home.load('server = "relay"\n[ssh]\ncommand = "other"\n')
    assert (config.server, config.ssh.command) == ("http://127.0.0.1:1234", ("ssh", "-F", "a b"))
    home.environ |= {"NSSH_NTFY_BASE": "", "NSSH_SSH": ""}
    assert load(home.environ).ssh.command == ("other",)


@pytest.mark.parametrize(
    ("variable", "value"), [("NSSH_NTFY_BASE", "ntfy.sh"), ("NSSH_SSH", "ssh 'x"), ("NSSH_SSH", " ")]
)
def test_a_bad_variable_is_named(home: Home, variable: str, value: str) -> None:
    home.environ[variable] = value
    with pytest.raises(ConfigError, match=variable):
        load(home.environ)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('serve = "relay"\n', 1, '"serve" is unknown; did you mean "server"?'),
        ('# a\n\n[ssh]\n# b\ncomand = "x"\n', 5, '"ssh.comand" is unknown; did you mean "ssh.command"?'),
        ('[ssh]\nsignal_timeout = "1h"\n', 2, '"ssh.signal_timeout" is unknown; did you mean "mosh.signal_timeout"?'),
        ('[mosh]\ntimeout = "1h"\n', 2, '"mosh.timeout" is unknown; did you mean "mosh.signal_timeout"?'),
        ('keep = "3d"\n', 1, 'did you mean "log.keep"?'),
        ('command = "x"\n', 1, 'did you mean "ssh.command" or "mosh.command" or "browser.command"?'),
        ('[log]\nserver = "relay"\n', 2, '"server" must stand above the first [table]'),
        ('[browsr]\ncommand = "x"\n', 1, 'did you mean "browser"?'),
        ("\n[zz]\n", 2, "known here: server, topic, token, user, password, ssh, mosh, browser, clipboard, log, sweep"),
        ('[ssh]\ncommand = """\nssh\n"""\nzz = 1\n', 5, "known here: command"),
        ('topic = """a\nzz = 1"""\nzz = 2\n', 3, '"zz" is unknown'),
        ('"ser\\nver" = 1\n', 1, '"ser?ver" is unknown; did you mean "server"?'),
        ("server = 3\n", 1, '"server" must be a string, not an integer'),
        ("server = true\n", 1, "not true or false"),
        ("topic = 2024-01-01\n", 1, "not a date or time"),
        ("ssh = 3\n", 1, '"ssh" must be a table ([ssh]), not an integer'),
        ("[[ssh]]\n", 1, '"ssh" must be a table ([ssh]), not a list'),
        ("[ssh]\ncommand = []\n", 2, '"ssh.command" names no program'),
        ('[ssh]\ncommand = ""\n', 2, '"ssh.command" names no program'),
        ('[ssh]\ncommand = ["a", 3]\n', 2, '"ssh.command" must be a string or a list of strings'),
        ('[ssh]\ncommand = "a\\u0000b"\n', 2, "NUL"),
        ('[browser]\ncommand = "a \'b"\n', 2, '"browser.command" is not a command line (no closing quotation)'),
        ('[log]\n\nkeep = "soon"\n', 3, "'soon' is not a duration"),
        ("[mosh]\nnetwork_timeout = 720\n", 2, '"mosh.network_timeout" must be a string like "168h", not an integer'),
        ('server = "ntfy.sh"\n', 1, '"server" must be "relay" or the URL of an ntfy server'),
        ('server = "https://"\n', 1, '"server" must be'),
        ('server = "https://h:99999"\n', 1, '"server" must be'),
        ('server = "https://h/?x"\n', 1, '"server" must be'),
        ('server = "https://::1"\n', 1, '"server" must be'),
        ('server = "https://me:secret@h"\n', 1, 'use the keys "user" and "password"'),
        ('topic = "a/b"\n', 1, '"topic" must be 1 to 64'),
        ('token = "a\\nb"\n', 1, '"token" must be'),
        ('token = ""\n', 1, '"token" must be'),
        ('user = "me"\n', 1, '"user" needs "password" beside it'),
        ('password = "secret"\n', 1, '"password" needs "user" beside it'),
        ('\nuser = "a:b"\npassword = "secret"\n', 2, '"user" must not hold a colon'),
        ('token = "secret"\nuser = "me"\npassword = "p"\n', 1, "keep one of the two"),
        ("server = relay\n", 1, 'is not TOML here: invalid value; text stands in quotes, as in server = "relay"'),
        ('a = 1\nb = """\n\n', 3, "is not TOML here"),
        ("a = 1\na = 2\n", 2, "is not TOML here"),
        ("a = " + "[" * 5000, 0, "nests its values too deeply"),
        (b"a = 1\n# \xff\n", 2, "is not UTF-8"),
        (b"a = '\x00'\n", 1, "is not TOML here"),
        (f"a = {'9' * 5000}\n", 1, "is not TOML here"),
    ],
)
def test_an_error_names_line_and_key_and_what_to_do(home: Home, text: str | bytes, line: int, words: str) -> None:
    # What is collected at the depth of a RecursionError can't be finalised, which pytest counts as a failure.
    gc.collect()
    gc.disable()
    try:
        message = home.refuse(text)
    finally:
        gc.enable()
    assert words in message
    if line:
        assert message.partition(":")[0] == str(line), message
    assert "secret" not in message


@pytest.mark.parametrize("text", ['token = "tk_x"\n', 'user = "me"\npassword = "x"\n'])
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_secret_in_a_file_that_others_can_open_is_refused(home: Home, text: str, mode: int) -> None:
    assert f"chmod 600 {home.file}" in home.refuse(text, mode)
    assert home.load(text, 0o600).server == "relay"


def test_without_a_secret_others_may_read_the_file_but_not_write_it(home: Home) -> None:
    assert home.load('topic = "t"\n', 0o644).topic == "t"
    assert "chmod 600" in home.refuse('topic = "t"\n', 0o646)


def test_what_is_no_readable_file_is_refused(home: Home) -> None:
    home.file.mkdir()
    with pytest.raises(ConfigError, match="is not a regular file"):
        load(home.environ)
    home.file.rmdir()
    os.mkfifo(home.file)
    with pytest.raises(ConfigError, match="is not a regular file"):
        load(home.environ)
    home.file.unlink()
    home.file.symlink_to(home.file)
    with pytest.raises(ConfigError, match="can't be read"):
        load(home.environ)
    home.file.unlink()
    assert "larger than 64 KiB" in home.refuse("# long\n" * 20000)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_an_unreadable_file_is_refused(home: Home) -> None:
    home.file.write_text("")
    home.file.chmod(0)
    with pytest.raises(ConfigError, match="can't be read"):
        load(home.environ)


def test_no_secret_is_shown(home: Home) -> None:
    config = home.load('topic = "nssh_secret"\nuser = "usecret"\npassword = "psecret"\n')
    assert "secret" not in f"{config!r} {config}"
    assert "secret" not in repr(home.load('token = "tk_secret"'))


def test_without_a_file_nothing_heavy_is_imported(tmp_path: Path) -> None:
    heavy = ["tomllib", "shlex", "difflib", "dataclasses", "pathlib", "subprocess", "urllib"]
    code = "import sys; from nssh.config import settings; settings.load(); "
    code += f"print([m for m in {heavy} if m in sys.modules])"
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "NSSH_SSH": "ssh -F /x", "NSSH_NTFY_BASE": "https://ntfy.sh"}
    environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, "-S", "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@given(st.text(string.printable + "åß☃"))
def test_a_command_splits_as_shlex_does(command: str) -> None:
    try:
        wanted: tuple[str, ...] | None = tuple(shlex.split(command))
    except ValueError:
        wanted = None
    if not wanted or not wanted[0]:
        with pytest.raises(ValueError):  # noqa: PT011  which text it has is tested above
            split_command(command)
    else:
        assert split_command(command) == wanted


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_one_line_of_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    home = Home(tmp_path_factory.mktemp("config"))
    try:
        home.load(text.encode("utf-8", "surrogatepass"))
    except ConfigError as error:
        assert str(error).isprintable()  # noqa: PT017  both outcomes are fine


@given(
    st.dictionaries(
        st.sampled_from(["server", "topic", "token", "user", "password", "ssh", "log", "sweep", "x"]),
        st.one_of(st.integers(), st.booleans(), st.text("abc\"' ", max_size=5), st.lists(st.integers(), max_size=2)),
    )
)
def test_any_types_are_a_configuration_or_one_line_of_error(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]
) -> None:
    def toml(value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        return '"' + value.replace('"', '\\"') + '"' if isinstance(value, str) else str(value)

    home = Home(tmp_path_factory.mktemp("config"))
    try:
        home.load("".join(f"{key} = {toml(value)}\n" for key, value in values.items()))
    except ConfigError as error:
        line = str(error).removeprefix(f"{home.file}:").partition(":")[0]
        key = str(error).partition('"')[2].partition('"')[0]
        assert list(values)[int(line) - 1] == key
