from __future__ import annotations

import string
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.base.errors import ConnectError
from nssh.ssh import identity
from nssh.ssh.identity import Target, parse_config
from tests.lab.system import require

if TYPE_CHECKING:
    from pathlib import Path

WORD = st.text(string.ascii_letters + string.digits + "-._:%", min_size=1, max_size=12)


def target(**config: str) -> Target:
    defaults = {"user": "me", "hostname": "h", "port": "22"}
    return Target("typed", ("ssh",), (), {key: [value] for key, value in (defaults | config).items()})


def test_the_output_of_ssh_is_keywords_and_values_in_order() -> None:
    config = parse_config("user me\nIdentityFile ~/a b\nidentityfile c\n\nsendenv\n")
    assert config["user"] == ["me"]
    assert config["identityfile"] == ["~/a b", "c"]
    assert config["sendenv"] == [""]


@given(st.lists(st.tuples(WORD, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n")))))
def test_a_value_never_becomes_a_keyword(pairs: list[tuple[str, str]]) -> None:
    config = parse_config("".join(f"{keyword} {value}\n" for keyword, value in pairs))
    assert set(config) == {keyword.lower() for keyword, _ in pairs}
    assert [value for keyword, values in config.items() for value in values] == [
        value for keyword in config for other, value in pairs if other.lower() == keyword
    ]


def test_defaults_where_ssh_says_nothing_or_none() -> None:
    bare = Target("Typed.Example", ("ssh",), (), {})
    assert (bare.hostname, bare.user, bare.port) == ("typed.example", "", 22)
    none = target(proxyjump="none", proxycommand="none", hostkeyalias="none", controlpath="none")
    for what in (bare, none):
        assert (what.jump, what.proxied, what.host_key_alias, what.control_path) == ("", False, "", "")


def test_a_key_has_all_that_tells_two_targets_apart() -> None:
    variants = [
        target(),
        target(user="you"),
        target(user="ME"),
        target(port="2200"),
        target(hostname="h.example"),
        target(hostname="10.0.0.5"),
        target(hostname="10.9.9.9"),
        target(hostkeyalias="alias"),
        target(hostkeyalias="other"),
        target(proxyjump="hop"),
        target(proxyjump="hop,hop2"),
        target(proxyjump="you@hop"),
        target(proxyjump="You@hop"),
        target(proxycommand="nc %h %p"),
        target(proxycommand="nc -X 5 %h %p"),
        target(proxyjump="hop", hostkeyalias="alias"),
        target(hostname="fe80::1"),
        target(hostname="fe80::12", port="2"),
        target(hostname="fe80::1", port="22"),
    ]
    keys = [variant.key for variant in variants]
    assert keys[-1] == keys[-3]
    assert len(set(keys)) == len(variants) - 1


def test_a_key_is_read_at_a_glance() -> None:
    assert target(hostname="Dev.Example", user="Me", port="2200").key == "Me@dev.example:2200"
    assert target(hostname="FE80::1%Eth0").key == "me@[fe80::1%eth0]:22"
    assert target(proxyjump="Al@Hop:2,B", hostkeyalias="Alias").key == "me@h:22 via Al@hop:2,b as alias"


@given(st.tuples(WORD, WORD), st.tuples(WORD, WORD), st.tuples(st.integers(1, 65535), st.integers(1, 65535)))
def test_equal_keys_mean_equal_users_hosts_and_ports(
    users: tuple[str, str], hosts: tuple[str, str], ports: tuple[int, int]
) -> None:
    one, two = (
        target(user=user, hostname=host, port=str(port)) for user, host, port in zip(users, hosts, ports, strict=True)
    )
    same = (one.user, one.hostname, one.port) == (two.user, two.hostname, two.port)
    assert (one.key == two.key) == same


@pytest.fixture
def ssh(tmp_path: Path) -> tuple[str, ...]:
    require("ssh")
    config = tmp_path / "config"
    config.write_text(
        "Host dev DEV2\n  HostName Dev.Example\n  User Me\n  Port 2200\n"
        "Host jump\n  HostName dev.example\n  ProxyJump you@Hop:22,other\n"
        "Host alias\n  HostName dev.example\n  HostKeyAlias Farm\n"
        "Host proxy\n  HostName dev.example\n  ProxyCommand nc %h %p\n"
        "Host shared\n  ControlPath ~/.ssh/c-%C\n"
        "Host six\n  HostName FE80::1%%lo\n"
        "Host none\n  HostName x\n  ControlPath none\n"
        "Host *\n  User me\n"
    )
    return ("ssh", "-F", str(config))


@pytest.mark.real
@pytest.mark.parametrize(
    ("destination", "options", "key"),
    [
        ("dev", (), "Me@dev.example:2200"),
        ("you@dev", (), "you@dev.example:2200"),
        ("dev", ("-p", "77"), "Me@dev.example:77"),
        ("dev", ("-l", "you", "-o", "Port=78"), "you@dev.example:78"),
        ("ssh://you@dev:79", (), "you@dev.example:79"),
        ("dev.example", (), "me@dev.example:22"),
        ("DEV.Example", (), "me@dev.example:22"),
        ("10.0.0.5", (), "me@10.0.0.5:22"),
        ("::1", (), "me@[::1]:22"),
        ("six", (), "me@[fe80::1%lo]:22"),
        ("jump", (), "me@dev.example:22 via you@hop:22,other"),
        ("dev.example", ("-J", "you@Hop:22,other"), "me@dev.example:22 via you@hop:22,other"),
        ("alias", (), "me@dev.example:22 as farm"),
        ("proxy", (), "me@dev.example:22 via nc %h %p"),
    ],
)
def test_the_real_ssh_says_who_it_is(
    ssh: tuple[str, ...], destination: str, options: tuple[str, ...], key: str
) -> None:
    found = identity.resolve(ssh, destination, options)
    assert found.key == key
    assert (found.destination, found.ssh, found.options) == (destination, ssh, options)


@pytest.mark.real
def test_the_users_own_control_path(ssh: tuple[str, ...]) -> None:
    path = identity.resolve(ssh, "shared").control_path
    assert path.startswith("/")
    assert "/.ssh/c-" in path
    assert "%" not in path
    assert identity.resolve(ssh, "none").control_path == ""


@pytest.mark.real
@pytest.mark.parametrize(
    ("options", "reason"),
    [(("-o", "Nonsense=1"), "nonsense"), (("-p", "x"), "port"), (("-F", "/nonexistent"), "nonexistent")],
)
def test_what_ssh_refuses_is_told_in_its_words_on_one_line(
    ssh: tuple[str, ...], options: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ConnectError) as caught:
        identity.resolve(ssh, "dev", options)
    assert reason in str(caught.value).lower()
    assert str(caught.value).startswith("dev: ")
    assert "\n" not in str(caught.value)
    assert caught.value.kind == "resolve"


def test_no_ssh_is_told_with_what_to_do() -> None:
    with pytest.raises(ConnectError, match="install"):
        identity.resolve(("/nonexistent/ssh",), "dev")


def test_ssh_answers_while_something_else_is_done(tmp_path: Path) -> None:
    """The answer is whole where it is longer than a pipe holds; an ssh that refuses is noticed when it is read."""
    fake = tmp_path / "ssh"
    fake.write_text(
        "#!/bin/sh\necho hostname box\ni=0\n"
        "while [ $i -lt 3000 ]; do echo sendenv a-variable-of-some-length; i=$((i+1)); done\n"
    )
    fake.chmod(0o755)
    first, second = identity.ask((str(fake),), "a"), identity.ask((str(fake),), "b", ("-4",))
    assert len(second.target().config["sendenv"]) == 3000
    found = first.target()
    assert (found.destination, found.hostname, found.options) == ("a", "box", ())
    fake.write_text("#!/bin/sh\necho no such option >&2\nexit 255\n")
    pending = identity.ask((str(fake),), "a")
    with pytest.raises(ConnectError, match="a: no such option"):
        pending.target()
    with pytest.raises(ConnectError, match="no such program"):
        identity.ask(("/nonexistent/ssh",), "a")
