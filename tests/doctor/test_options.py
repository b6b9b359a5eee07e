"""The command line of `nssh doctor`."""

from __future__ import annotations

import pytest

from nssh.base.errors import ArgumentError
from nssh.doctor.doctor_options import DoctorOptions, parse


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("devbox", DoctorOptions("devbox")),
        ("--json devbox", DoctorOptions("devbox", json=True)),
        ("devbox --json --timeout 5s", DoctorOptions("devbox", timeout=5.0, json=True)),
        ("--timeout=1m -p 22 devbox -4", DoctorOptions("devbox", ("-p", "22", "-4"), 60.0)),
        ("-p 22 -- devbox", DoctorOptions("devbox", ("-p", "22"))),
    ],
)
def test_what_is_understood(words: str, options: DoctorOptions) -> None:
    assert parse(words.split()) == options


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "no host given"),
        ("a b", "nssh doctor takes one host"),
        ("a -- b", "nssh doctor takes one host"),
        ("-- -a", "can't begin with '-'"),
        ("a --timeout", "--timeout needs a value"),
        ("a --timeout=0", "--timeout: 0 leaves no time to connect"),
        ("a --timeout soon", "--timeout: 'soon' is not a duration"),
        ("a --json=yes", "--json takes no value"),
        ("a --jsn", "unknown option --jsn; did you mean --json\\?"),
        ("a -W b:1", "nssh doctor can't be given ssh's -W"),
        ("a -l", "-l needs a value"),
    ],
)
def test_what_is_refused(words: str, reason: str) -> None:
    with pytest.raises(ArgumentError, match=reason):
        parse(words.split())
