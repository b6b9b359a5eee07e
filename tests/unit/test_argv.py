from __future__ import annotations

import subprocess
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nssh.base.errors import UsageError
from nssh.ssh.argv import SshArguments, parse_connect, parse_ssh
from tests.lab.system import require


def parsed(*words: str) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    arguments = parse_ssh(list(words))
    return arguments.options, arguments.destination, arguments.command


@pytest.mark.parametrize(
    ("words", "options", "destination", "command"),
    [
        ("host", "", "host", ""),
        ("host ls -l", "", "host", "ls -l"),
        ("-v host", "-v", "host", ""),
        ("host -v", "-v", "host", ""),
        ("-p 22 host -l me ls", "-p 22 -l me", "host", "ls"),
        ("-p22 host", "-p22", "host", ""),
        ("-vp 22 host", "-vp 22", "host", ""),
        ("-vvp22 host", "-vvp22", "host", ""),
        ("-- host -v", "", "host", "-v"),
        ("host -- -v", "", "host", "-v"),
        ("host -v -- ls -l", "-v", "host", "ls -l"),
        ("host ls -- -l", "", "host", "ls -- -l"),
        ("host - ls", "", "host", "- ls"),
        ("-o User=me host -i key cmd -i x", "-o User=me -i key", "host", "cmd -i x"),
        ("-o -v host", "-o -v", "host", ""),
        ("-ovalue host", "-ovalue", "host", ""),
        ("me@host", "", "me@host", ""),
        ("ssh://me@host:22 uptime", "", "ssh://me@host:22", "uptime"),
    ],
)
def test_sshs_arguments_by_sshs_rules(words: str, options: str, destination: str, command: str) -> None:
    assert parsed(*words.split()) == (tuple(options.split()), destination, tuple(command.split()))


@pytest.mark.parametrize(
    "words", [[], ["-v"], ["--"], ["-v", "--"], ["-p", "22"], ["-p"], ["host", "-p"], ["--", "-x"]]
)
def test_what_ssh_would_not_take_is_a_usage_error(words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_ssh(words)
    assert caught.value.exit_code == 2


def test_an_empty_host_is_not_replaced_by_the_word_behind_it() -> None:
    """As in a script's `nssh "$HOST" uptime` with HOST unset."""
    with pytest.raises(UsageError, match="host"):
        parse_ssh(["", "uptime"])


@pytest.mark.parametrize("option", ["-V", "-Q", "-N", "-W", "-O", "-G", "-f"])
def test_what_asks_for_no_session_is_told(option: str) -> None:
    words = {"-Q": ["-Q", "cipher"], "-W": ["-W", "h:1"], "-O": ["-O", "exit"]}.get(option, [option])
    assert parse_ssh([*words, "host"]).wants_no_session
    assert parse_ssh(["host", *words]).wants_no_session
    assert not parse_ssh(["host", "ls", *words]).wants_no_session
    assert not parse_ssh(["-l", option, "host"]).wants_no_session


@pytest.mark.parametrize("words", [["-V"], ["-Q", "cipher"]])
def test_some_options_need_no_host(words: list[str]) -> None:
    assert parsed(*words) == (tuple(words), "", ())


def test_our_own_options_stand_before_the_host() -> None:
    connect = parse_connect(["--ssh", "--new", "-v", "host", "ls", "--mosh"])
    assert (connect.mode, connect.collision) == ("ssh", "new")
    assert connect.ssh == SshArguments(("-v",), "host", ("ls", "--mosh"), frozenset("v"))
    assert parse_connect(["--mosh", "host"])[:2] == ("mosh", "")
    assert parse_connect(["--join", "host"])[:2] == ("", "join")
    assert parse_connect(["--replace", "--replace", "host"])[:2] == ("", "replace")
    assert parse_connect(["host"])[:2] == ("", "")
    assert parse_connect(["--", "host"]).ssh.destination == "host"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--ssh", "--mosh", "host"], "--mosh"),
        (["--join", "--new", "host"], "--join and --new"),
        (["--new", "--replace", "--join", "host"], "--join and --replace and --new"),
        (["--sssh", "host"], "--sssh"),
        (["--new"], "host"),
        (["-v", "--ssh", "host"], "--ssh"),
        (["host", "--mosh"], "--mosh"),
    ],
)
def test_contradictions_and_unknown_options_are_usage_errors(words: list[str], names: str) -> None:
    with pytest.raises(UsageError, match=names):
        parse_connect(words)


# Against the real ssh.


class Ssh(NamedTuple):
    """The real ssh, with a configuration of its own."""

    config: str

    def resolve(self, words: list[str]) -> tuple[int, str]:
        done = subprocess.run(
            ["ssh", "-F", self.config, "-G", *words], capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Ssh:
    require("ssh")
    config = tmp_path_factory.mktemp("ssh") / "config"
    config.write_text("Host alias\n  HostName real.example\n  Port 2200\n")
    return Ssh(str(config))


VALUE = st.sampled_from(["22", "me", "a b", "-v", "-", "-p", "host2", "alias", "User=you", "Port 99", "none"])
OPTION = st.one_of(
    st.sampled_from(["-v", "-4", "-A", "-C", "-tt", "-Tx", "-q", "-46", "-nT", "-vA", "-h"]).map(lambda word: [word]),
    st.tuples(st.sampled_from(["-p", "-l", "-o", "-i", "-J", "-vl", "-Tp", "-4o", "-e", "-m"]), VALUE).map(list),
    st.tuples(st.sampled_from(["-p", "-l", "-o", "-vl"]), VALUE).map(lambda pair: ["".join(pair)]),
)
OPTIONS = st.lists(OPTION, max_size=3).map(lambda options: [word for option in options for word in option])
HOST = st.sampled_from(["host", "alias", "me@host", "ssh://you@host:77", "a.b.c", "::1"])
# Words that would change the outcome if they were taken for options.
COMMAND = st.lists(st.sampled_from(["ls", "-v", "-p", "23", "-lroot", "a b", "-"]), max_size=3)
DASHES = st.sampled_from([[], [], ["--"]])


class Line(NamedTuple):
    """A command line of ssh in its parts."""

    before: list[str]
    dashes: list[str]
    host: str
    after: list[str]
    more_dashes: list[str]
    command: list[str]

    @property
    def words(self) -> list[str]:
        return [*self.before, *self.dashes, self.host, *self.after, *self.more_dashes, *self.command]


@settings(max_examples=200)
@given(line=st.builds(Line, OPTIONS, DASHES, HOST, OPTIONS, DASHES, COMMAND))
@pytest.mark.real
def test_put_together_again_it_means_the_same_to_ssh(ssh: Ssh, line: Line) -> None:
    # The first to name a user or a port wins in ssh, and options behind the host are put before it here.
    assume(
        "@" not in line.host
        or not any(
            word.startswith(("-l", "-vl", "-p", "-Tp")) or word.endswith(("Port 99", "User=you"))
            for word in line.after + line.command
        )
    )
    outcome = ssh.resolve(line.words)
    try:
        taken = parse_ssh(line.words)
    except UsageError:
        assert outcome[0] != 0
        return
    assert ssh.resolve([*taken.options, "--", taken.destination]) == outcome
    # Nothing is lost or added: what is no option, host or `--` is the command, at the end as it was.
    rest = line.words[: len(line.words) - len(taken.command)]
    assert tuple(line.words[len(rest) :]) == taken.command
    assert sorted(word for word in rest if word != "--") == sorted([*taken.options, taken.destination])
