"""The session file, and where a shim finds its bus."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.wire import session_file
from nssh.wire.session_file import Session, SessionError, load, parse, render

if TYPE_CHECKING:
    from pathlib import Path

topics = st.text(alphabet="abcXYZ019-_", min_size=1, max_size=64)
servers = st.sampled_from(["relay", "unix:/home/jo hn/relay.sock", "https://ntfy.example.com", "http://[::1]:8080"])
sessions = st.builds(Session, servers, topics, st.lists(st.text()).map(tuple), st.text())


@given(sessions)
def test_parsing_undoes_rendering(original: Session) -> None:
    assert parse(render(original)) == original


@given(sessions)
def test_the_file_is_toml(original: Session) -> None:
    values = tomllib.loads(render(original))
    assert values["server"] == original.server
    assert values["topic"] == original.topic
    assert tuple(values.get("features", ())) == original.features
    assert values.get("token", "") == original.token


@given(
    st.text()
    | st.lists(st.sampled_from(['server = "', "relay", '"\n', "topic", "=", "[", "]", "\\u", "'", "#"])).map("".join)
)
def test_any_text_gives_a_session_or_a_session_error(text: str) -> None:
    try:
        result = parse(text)
    except SessionError as error:
        shown = str(error)
    else:
        shown = ""
        assert session_file.is_topic(result.topic)
    assert "\n" not in shown


def test_comments_literal_strings_and_unknown_keys_are_understood() -> None:
    text = (
        "# from the laptop\r\n"
        "later = [1, 2]   # not ours\n"
        "  server = 'https://ntfy.example.com' # a comment\n"
        '"topic" = "t\\u0031_\\U00000041"\n'
        'features = [ "a#b" , "c]", ] # c\n'
        "[table]\n"
        'topic = "other"\n'
    )
    assert parse(text) == Session("https://ntfy.example.com", "t1_A", ("a#b", "c]"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("topic", "line 2: expected key"),
        ('topic = "a', "line 2: the string does not end"),
        ("topic = a", "line 2: expected a string"),
        ('topic = "a" b', "line 2: something follows"),
        ('topic = "\\x41"', "line 2: unknown escape"),
        ('topic = "\\ud800"', "line 2: a \\u escape that is no character"),
        ('topic = "a\x01"', "line 2: a control character"),
        ('topic = ["a"', "line 2: an array"),
        ('topic = ["a"]', "must be strings"),
        ('topic = ""', "the topic is not valid"),
        ('topic = "a/b"', "the topic is not valid"),
        ('topic = "' + "a" * 65 + '"', "the topic is not valid"),
        ("", "names no topic"),
        ('server = "relay"', "line 2: server is given twice"),
    ],
)
def test_errors_name_the_line_and_the_reason(line: str, message: str) -> None:
    with pytest.raises(SessionError) as caught:
        parse('server = "relay"\n' + line + "\n")
    assert message in str(caught.value)


@pytest.mark.parametrize("server", ["", "ntfy.sh", "ftp://x", "unix:relative", "https://a b", "relay "])
def test_a_server_that_is_none_is_refused(server: str) -> None:
    with pytest.raises(SessionError, match="the server is not valid"):
        parse(f'server = "{server}"\ntopic = "t"\n')


def test_the_repr_shows_no_secret() -> None:
    shown = repr(Session("https://x", "secret_topic", ("a",), "tk_secret"))
    assert "secret" not in shown


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".local/state/nssh").mkdir(parents=True)
    (tmp_path / ".config/nssh").mkdir(parents=True)
    return tmp_path


def _write_session(home: Path, text: str) -> None:
    (home / ".local/state/nssh/session").write_text(text)


def test_without_a_session_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="no nssh session on this host: connect with `nssh <host>`"):
        load({"HOME": str(tmp_path)})


def test_the_relay_becomes_its_socket(home: Path) -> None:
    _write_session(home, 'server = "relay"\ntopic = "t"\nfeatures = ["targets"]\n')
    found = load({"HOME": str(home)})
    assert found == Session(f"unix:{home}/.local/state/nssh/relay.sock", "t", ("targets",))


def test_the_environment_precedes_the_configuration_which_precedes_the_session(home: Path) -> None:
    _write_session(home, 'server = "https://session"\ntopic = "t"\ntoken = "tk_1"\n')
    assert load({"HOME": str(home)}) == Session("https://session", "t", (), "tk_1")
    (home / ".config/nssh/config.toml").write_text('server = "https://config/"\n[ssh]\nserver = 1\n')
    assert load({"HOME": str(home)}).server == "https://config"
    assert load({"HOME": str(home), "NSSH_NTFY_BASE": "https://env"}).server == "https://env"


def test_the_token_goes_to_the_server_it_belongs_to_only(home: Path) -> None:
    _write_session(home, 'server = "https://session"\ntopic = "t"\ntoken = "tk_1"\n')
    assert load({"HOME": str(home), "NSSH_NTFY_BASE": "https://other"}).token == ""


def test_a_configured_topic_needs_no_session_file(home: Path) -> None:
    (home / ".config/nssh/config.toml").write_text('topic = "mine"\n')
    assert load({"HOME": str(home)}) == Session(f"unix:{home}/.local/state/nssh/relay.sock", "mine")


def test_xdg_directories_are_honoured(tmp_path: Path) -> None:
    (tmp_path / "state/nssh").mkdir(parents=True)
    (tmp_path / "state/nssh/session").write_text('server = "https://x"\ntopic = "t"\n')
    assert load({"HOME": "/nowhere", "XDG_STATE_HOME": str(tmp_path / "state")}).server == "https://x"


@pytest.mark.parametrize("data", [b"\xff\xfe", b"#" * (session_file.MAX_SIZE + 1), b'server = "relay\n'])
def test_a_broken_file_is_named(home: Path, data: bytes) -> None:
    path = home / ".local/state/nssh/session"
    path.write_bytes(data)
    with pytest.raises(SessionError, match=str(path)):
        load({"HOME": str(home)})
