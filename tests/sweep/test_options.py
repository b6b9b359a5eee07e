"""The command line of `nssh sweep`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.base.errors import UsageError
from nssh.sweep.sweep_options import SweepOptions, parse


@pytest.mark.parametrize(
    ("words", "wish"),
    [
        ("devbox", SweepOptions(("devbox",))),
        ("a b me@c ssh://d", SweepOptions(("a", "b", "me@c", "ssh://d"))),
        ("--all a", SweepOptions(("a",), every=True)),
        ("a --all b --yes", SweepOptions(("a", "b"), every=True, yes=True)),
        ("--detached --older=90m a", SweepOptions(("a",), detached=True, older=5400.0)),
        ("--older 1h30m a", SweepOptions(("a",), older=5400.0)),
        ("--older 500ms a", SweepOptions(("a",), older=0.5)),
        ("--older=1m500ms a", SweepOptions(("a",), older=60.5)),
        ("--min-age 0 a", SweepOptions(("a",), min_age=0.0)),
        ("--older 168h a", SweepOptions(("a",), older=604800.0)),
        ("--older 7d a", SweepOptions(("a",), older=604800.0)),
        ("--older 1w a", SweepOptions(("a",), older=604800.0)),
        ("--min-age 0 --timeout 5s a", SweepOptions(("a",), min_age=0.0, timeout=5.0)),
        ("--include-mine --dry-run --json a", SweepOptions(("a",), include_mine=True, dry_run=True, json=True)),
        # ssh's own, before and behind the hosts, for all of them.
        ("-F file -p 2222 a b", SweepOptions(("a", "b"), ("-F", "file", "-p", "2222"))),
        ("a b -Ffile -4p 2222", SweepOptions(("a", "b"), ("-F", "file", "-4", "-p", "2222"))),
        ("a -i - -oUser=me -9", SweepOptions(("a",), ("-i", "-", "-o", "User=me", "-9"))),
        ("-o User=--all --all a", SweepOptions(("a",), ("-o", "User=--all"), every=True)),
        ("--all -- a", SweepOptions(("a",), every=True)),
    ],
)
def test_what_is_understood(words: str, wish: SweepOptions) -> None:
    assert parse(words.split()) == wish


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "needs a host"),
        ("--all", "needs a host"),
        ("--all --older 1h a", "--all and --older contradict each other"),
        ("--older 1h a --all", "--all and --older contradict each other"),
        ("--all --detached a", "--all and --detached contradict each other"),
        ("--older a", "--older: 'a' is not a duration"),
        ("--older", "--older needs a value"),
        ("a --older --all", "--older needs a value"),
        ("--older 5x a", "--older: '5x' is not a duration"),
        ("--older -5h a", "--older needs a value"),
        ("--older=-5h a", "is not a duration"),
        ("--older= a", "is not a duration"),
        ("--older=-500ms a", "is not a duration"),
        ("--older 0 a", "--older: 0 would choose all; --all does that"),
        ("--older 0ms a", "--older: 0 would choose all"),
        ("--older 0h0m a", "--older: 0 would choose all"),
        ("--older 9999999999999999ms a", "--older: .* is longer than 100 years"),
        ("--older ms a", "--older: 'ms' is not a duration"),
        ("--min-age 1h1h a", "--min-age: .* is not a duration"),
        ("--timeout 0 a", "leaves no time"),
        ("--timeout ten a", "--timeout: "),
        ("--older 200w300000d a", "is not a duration|longer than"),
        ("--bogus a", "unknown option --bogus$"),
        ("--odler 1h a", "unknown option --odler; did you mean --older\\?"),
        ("--minage=1h a", "unknown option --minage=1h; did you mean --min-age\\?"),
        ("--all=yes a", "--all takes no value"),
        ("a --old 1h", "unknown option --old; did you mean --older\\?"),
        ("-p", "-p needs a value"),
        ("a -o -x", "-o needs a value"),
        ("a -%", "unknown option -%"),
        ("-N a", "can't be given ssh's -N"),
        ("-fO check a", "can't be given ssh's -[Of]"),
        ("-- -x", "can't begin with '-'"),
    ],
)
def test_what_is_refused(words: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as wrong:
        parse(words.split())
    assert "\n" not in str(wrong.value), "one line"


def test_an_empty_host_is_a_scripts_mistake() -> None:
    with pytest.raises(UsageError, match="empty word"):
        parse(["--all", ""])


@given(st.lists(st.sampled_from(["--all", "--older", "1h", "a", "-p", "-4", "--", "", "-", "--yes", "é", "--older=0"])))
def test_whatever_is_typed_is_a_wish_or_wrong_usage(words: list[str]) -> None:
    try:
        wish = parse(words)
    except UsageError:
        return
    assert wish.hosts
    assert not (wish.every and wish.older is not None)
