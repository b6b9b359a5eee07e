"""What the foreground of a sweep and its child tell each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.mosh.end_servers import EndMethod, Fate, SweepVerdict
from nssh.mosh.mosh_servers import ClientState, Listing, MoshServer
from nssh.ssh.identity import Target
from nssh.sweep import child_messages

seconds = st.floats(0, 1e9)
servers = st.builds(
    MoshServer,
    pid=st.integers(1, 1 << 22),
    start=st.text(),
    age=seconds,
    state=st.sampled_from(ClientState),
    since=st.none() | seconds,
    client=st.text(),
    idle=st.none() | seconds,
    runs=st.text(),
    ports=st.lists(st.integers(1, 65535)).map(tuple),
    signal_timeout=st.integers(0, 1 << 40),
    birth=st.text(),
)
texts = st.lists(st.text(), max_size=3).map(tuple)
targets = st.builds(
    Target, st.text(), texts, texts, st.dictionaries(st.text(), st.lists(st.text(), max_size=2), max_size=3)
)
messages = st.one_of(
    st.builds(child_messages.Job, st.lists(targets, max_size=2).map(tuple), seconds, st.text(), seconds),
    st.builds(
        child_messages.End,
        st.integers(0),
        st.lists(st.tuples(servers, st.sampled_from(EndMethod)), max_size=3).map(tuple),
    ),
    st.builds(child_messages.Listed, st.integers(0),
              st.builds(Listing, st.lists(servers, max_size=3).map(tuple), texts, st.text())),
    st.builds(child_messages.Judged, st.integers(0), st.builds(SweepVerdict, st.integers(1), st.sampled_from(Fate))),
    st.builds(child_messages.Finished, st.integers(0)),
    st.builds(child_messages.Failed, st.integers(0), st.text()),
)  # fmt: skip


@given(st.lists(messages, max_size=5), st.integers(1, 50))
def test_everything_arrives_as_it_was_in_whatever_pieces(
    sent: list[child_messages.Order | child_messages.News], size: int
) -> None:
    data = b"".join(map(child_messages.encode, sent))
    lines = child_messages.MessageSplitter()
    heard = [message for at in range(0, len(data), size) for message in lines.feed(data[at : at + size])]
    assert heard == sent
    assert [type(message) for message in heard] == [type(message) for message in sent]


def test_a_line_without_end_is_refused() -> None:
    lines = child_messages.MessageSplitter()
    assert list(lines.feed(b"x" * child_messages.LONGEST_LINE)) == []
    with pytest.raises(ValueError, match="too long"):
        list(lines.feed(b"x"))
