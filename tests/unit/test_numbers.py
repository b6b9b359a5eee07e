"""Every number that the documentation tells has one home in the code, and both say the same.

A number that is changed in the code alone, or in the documentation alone, fails here; and so does one that is told anew
without a line here. That the program does what its constants say is tested at their limits, by clocks that the test
moves, where the part in question is tested.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]

MiB = 1 << 20
MINUTE = 60
HOUR = 3600
DAY = 86400


class Number(NamedTuple):
    """One number of the program's."""

    home: str
    """`module:name`; of a class's default `module:Class.field`."""
    value: object
    told: tuple[tuple[str, str], ...]
    """Pages and the words in which they tell it; line breaks count as blanks."""


NUMBERS = [
    # What both sides agree on.
    Number("nssh.wire:CONTENT_LIMIT", 64 * MiB, (
        ("guide", '`[clipboard] copy_limit`, `paste_limit` | `"64 MiB"`'),
        ("security", "files (64 MiB)"),
        ("shims", "At most 64 MiB pass"),
    )),
    Number("nssh.wire:MESSAGE_LIMIT", 4095, (("protocol", "(4095 bytes on ntfy)"),)),
    Number("nssh.wire:RETENTION", 12 * HOUR, (
        ("guide", "Messages are kept for 12 hours."),
        ("guide", "(the relay and ntfy: 12 hours; ntfy keeps files for 3)"),
        ("doctor", "until the server forgets them (12 and 3 hours by default)"),
    )),
    Number("nssh.wire.envelope:INLINE_LIMIT", 3072, (("protocol", "at most 3072 bytes"),)),
    # The relay.
    Number("nssh.relay.main:IDLE", 10 * MINUTE, (("guide", "gone after ten idle minutes"),)),
    Number("nssh.relay.main:KEEPALIVE", 45, ()),
    Number("nssh.relay.main:STARTUP", MINUTE, (("supervision", "after 60 s it is ended"),)),
    Number("nssh.relay.daemon:START_TIMEOUT", 10, (("supervision", "10 s are waited for it"),)),
    Number("nssh.relay.store:ANSWERED", MINUTE, (
        ("protocol", "the files of answers that are more than a minute old make room"),
    )),
    # Questions.
    Number("nssh.tui._question:_AFTER_KEY", 0.25, (("guide", "decides a quarter of a second later"),)),
    # The shims.
    Number("nssh.remote.shim:ANSWER_WITHIN", 5, (
        ("guide", "A read waits 5 seconds for an answer, or `$NSSH_TIMEOUT`"),
        ("shims", "(5 seconds of silence, or `$NSSH_TIMEOUT`)"),
    )),
    Number("nssh.remote.clipboard_read:_ARRIVAL", 2, (
        ("guide", "(just after a login, when it is on its way: after two seconds)"),
        ("programs", "within two seconds of a login a read waits for it"),
    )),
    Number("nssh.remote.ping:ANSWER_WITHIN", 1.5, (("shims", "by a ping around the bus, within 1.5 s"),)),
    Number("nssh.remote.nssh_copy_paste:KEPT", DAY, (("guide", "it is removed a day later"),)),
    Number("nssh.remote.events:MAX_SIZE", MiB, (("protocol", "events, rotated at 1 MiB"),)),
    # The bus.
    Number("nssh.bus.client:DEAD_AFTER", 90, (("architecture", "one that was silent for 90 s"),)),
    Number("nssh.bus.drain:GRACE", 12, (("architecture", "12 s after the session file was known to name another"),)),
    Number("nssh.bus.schedule:IDLE_SECONDS", 30 * MINUTE, (("architecture", "Polls once in 30 minutes"),)),
    Number("nssh.bus.replay_policy:READ_SECONDS", 10, (("architecture", "read older than 10 s"),)),
    Number("nssh.bus.replay_policy:OPEN_SECONDS", 15 * MINUTE, (
        ("guide", "sent more than 15 minutes before they reached you"),
        ("architecture", "a URL older than 15 minutes"),
    )),
    Number("nssh.bus.replay_policy:OPEN_MAX", 10, (
        ("guide", "after the tenth of one backlog"),
        ("architecture", "behind the tenth of one backlog"),
    )),
    Number("nssh.state.held_urls:FOUND_KEPT", DAY, (
        ("guide", "They are on the list for a day"),
        ("protocol", "listed by `nssh status --held`, for a day"),
    )),
    Number("nssh.local.flood:FLOOD", 20, (("guide", "after the twentieth within ten seconds"),)),
    Number("nssh.local.flood:FLOOD_SECONDS", 10, (("guide", "after the twentieth within ten seconds"),)),
    Number("nssh.state.session_records:LOST_TOLD", DAY, (
        ("guide", "`nssh status` says so for a day"),
        ("architecture", "goes on telling it for a day"),
        ("protocol", "told for a day by whoever leads"),
    )),
    Number("actors.clipboard:_TELL", 1, (("architecture", "once a second, while pieces move"),)),
    # Logins in the browser.
    Number("nssh.local.browser_launcher:LONGEST_URL", 8192, (("security", "at most 8192 characters"),)),
    Number("nssh.local.callback_flow:QUIET", 30, (
        ("guide", "30 quiet seconds after the answer was taken"),
        ("architecture", "over 30 s without traffic"),
    )),
    Number("nssh.local.callback_flow:LONGEST", 5 * MINUTE, (
        ("guide", "listens no more, or after 5 minutes"),
        ("guide", "(kubelogin, tsh) has 5 minutes in all"),
        ("guide", "in the same way, for those 5 minutes"),
        ("architecture", "ends with the remote's port, or after 5 minutes"),
        ("architecture", "after success, after 5 minutes"),
        ("security", "for five minutes at a time"),
    )),
    Number("nssh.local.callback_proxy:LOWEST_PORT", 1024, (
        ("guide", "Ports below 1024 are not listened on."),
        ("security", "(1024 or above, and free)"),
    )),
    Number("nssh.local.callback_proxy:MOST_CARRIED", 24, (("architecture", "at most 24 at once"),)),
    Number("nssh.local.callback_proxy:MOST_ALIKE", 4, (
        ("architecture", "comes round to our own listener four times"),
    )),
    Number("nssh.local.callback_connection:_CHUNK", 64 << 10, (("architecture", "(two threads, 64 KiB each)"),)),
    Number("actors.oauth_proxy:_REACH", 30, (("architecture", "tried again for 30 s"),)),
    # Sessions.
    Number("nssh.meeting.liveness:DEADLINE", 1.5, (
        ("architecture", '"Alive" is an answer within 1.5 s'),
        ("architecture", "alive if it answers within 1.5 s"),
        ("protocol", "whether it answered within 1.5 s"),
        ("protocol", "answers within 1.5 s with one line of JSON"),
    )),
    Number("actors.liveness_responder:DEADLINE", 1.3, ()),
    Number("actors.liveness_responder:PATIENCE", 1, (("architecture", "at the same thing for a second"),)),
    Number("nssh.meeting.end_session:PATIENCE", 1, (
        ("guide", "by force if a second passes"),
        ("architecture", "after a second SIGKILL to whoever is left"),
    )),
    Number("nssh.launch.bridge:INTENSITY", 5, (
        ("architecture", "(5 times in 60 s)"),
        ("supervision", "the launcher's 5 restarts in 60 s"),
        ("supervision", "5 in 60 s; then the session goes on without"),
    )),
    Number("actors.supervision._supervisor:LIVENESS", 30, (("architecture", "writes a heartbeat every 30 s"),)),
    Number("nssh.launch.bridge:_HEALTH", 90, (
        ("architecture", "after 90 s without one the launcher kills the bridge"),
        ("supervision", "90 s without a heartbeat"),
    )),
    Number("nssh.launch.bridge:_STARTUP", MINUTE, (("supervision", "60 s until its first heartbeat"),)),
    Number("nssh.launch.bridge:_SHUTDOWN", 5, (("supervision", "5 s, by the end of its pipe"),)),
    Number("nssh.launch.bridge:PERIOD", 60, (("architecture", "(5 times in 60 s)"),)),
    Number("actors.__main__:_LAST_MOMENT", 4, (
        ("architecture", "is gone within 5 s"),
        ("supervision", "The bridge has 5 s once the launcher is gone"),
    )),
    Number("actors.__main__:_DRAIN", 2, (("supervision", "of which it gives 2 to what has arrived"),)),
    Number("actors.__main__:_STOP", 1.5, (("supervision", "`request_stop(timeout=1.5)`"),)),
    Number("nssh.launch.mosh_first_screen:_MOMENTS", (0.03, 0.06, 0.12, 0.24), (
        ("architecture", "a few times in its first quarter of a second"),
    )),
    # Configuration and commands.
    Number("nssh.config.settings:MoshConfig.network_timeout", 720 * HOUR, (
        ("guide", '`[mosh] network_timeout` | `"720h"`'),
    )),
    Number("nssh.config.settings:MoshConfig.signal_timeout", 60, (("guide", '`[mosh] signal_timeout` | `"60s"`'),)),
    Number("nssh.config.settings:LogConfig.keep", 30 * DAY, (("guide", '`[log] keep` | `"30d"`'),)),
    Number("nssh.log.tail:LOOK_BACK", 10, (("guide", "(their last ten first)"),)),
    Number("nssh.doctor.doctor_options:TIMEOUT", 20, (("doctor", "[--timeout 20s]"),)),
    Number("nssh.doctor.check_bus:_FILE", 100_000, (("doctor", "three files of 100 kB"),)),
    Number("nssh.doctor.check_remote:_CLOCK", 2, (("doctor", "a limit from 2 s, wrong from 60 s"),)),
    Number("nssh.doctor.check_remote:_CLOCK_WRONG", 60, (("doctor", "a limit from 2 s, wrong from 60 s"),)),
    Number("nssh.mosh.server_choice:MIN_AGE", MINUTE, (
        ("sweep", "default `60s`, `0` spares none"),
        ("sweep", "those younger than a minute"),
    )),
    Number("nssh.sweep.child:_SHUTDOWN", 3, (("supervision", "3 s, by the end of its pipe"),)),
    Number("nssh.sweep.sweep_options:TIMEOUT", 20, (("sweep", "for a host to answer; default `20s`"),)),
    Number("nssh.mosh.end_servers:GRACE", 11, (("sweep", "still there 11 seconds later"),)),
    Number("nssh.tui._selection:OLD", DAY, (
        ("sweep", "those older than 24 h"),
        ("sweep", "`old` or `o` (older than 24 h)"),
    )),
    Number("nssh.remote.sweep_question:OLD", DAY, (("sweep", "`old` or `o` (older than 24 h)"),)),
]  # fmt: skip

OTHERS = {
    "README": (),
    "architecture": (
        "waits for its client only for a minute",  # mosh-server does
        "at most 104 bytes on macOS",  # the system's; nssh.ssh.control_path leaves room for what ssh appends
        "the prompt comes 200 ms sooner",  # measured
        "64 MiB cost the shim 10 MiB and the bridge 2",  # measured; tests/session/test_images.py
    ),
    "doctor": (),
    "guide": (
        "answers in 43 ms",  # an example
        "begins ten minutes back",  # an example
    ),
    "programs": ("about half a second after the login",),  # measured
    "protocol": (),
    "security": ('`[clipboard] paste_limit = "0 KB"`', '`[clipboard] copy_limit = "0 KB"`'),  # examples
    "shims": (),
    "sweep": (
        "half a minute late",  # mosh-server is
        "older than a week",  # an example
    ),
}
"""Pages, and numbers in them that are nobody's constant. The others (benchmarks, comparison, development, ntfy) tell
what was measured, or of others; docs/supervision.md is compared with the library in tests/supervision/test_docs.py."""

WORDS = "half an?|two|three|four|five|ten|twenty|thirty"
UNITS = r"ms|s|seconds?|minutes?|hours?|days?|weeks?|[KM]i?B|kB|bytes|characters"
TOLD = re.compile(rf"(?:\b\d[\d.,]*|\b(?:{WORDS})|\ban?(?! second))\s(?:(?:quiet|idle)\s)?(?:{UNITS})\b", re.IGNORECASE)


def page(name: str) -> str:
    text = (ROOT / ("README.md" if name == "README" else f"docs/{name}.md")).read_text()
    return " ".join(text.split())


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.home)
def test_the_code_has_it(number: Number) -> None:
    module, _, name = number.home.partition(":")
    found = importlib.import_module(module)
    first, _, field = name.partition(".")
    value = getattr(found, first)
    assert (value._field_defaults[field] if field else value) == number.value


@pytest.mark.parametrize("number", [number for number in NUMBERS if number.told], ids=lambda number: number.home)
def test_the_pages_tell_it(number: Number) -> None:
    assert [told for told in number.told if told[1] not in page(told[0])] == []


@pytest.mark.parametrize("name", OTHERS)
def test_no_page_tells_a_number_that_nobody_looks_after(name: str) -> None:
    text = page(name)
    known = [words for number in NUMBERS for where, words in number.told if where == name] + list(OTHERS[name])
    assert [words for words in known if words not in text] == []
    for words in known:
        text = text.replace(words, "")
    assert [text[max(0, told.start() - 60) : told.end() + 20] for told in TOLD.finditer(text)] == []


def test_a_number_is_recognized() -> None:
    told = "after 5 minutes, in 1.5 s, for a day, of 64 MiB, ten idle minutes, half a minute, 3072 bytes, 0.4 s"
    assert len(TOLD.findall(told)) == 8
    assert not TOLD.findall("a second session, 3 files, Python 3.11, 0700, a daily one")


def test_a_session_that_is_asked_is_done_before_whoever_asks() -> None:
    from actors import liveness_responder
    from nssh.meeting import liveness

    assert liveness_responder.PATIENCE < liveness_responder.DEADLINE < liveness.DEADLINE


def test_a_bridge_is_not_dead_between_two_signs_of_life() -> None:
    from actors.supervision._heartbeat import INTERVAL
    from actors.supervision._supervisor import LIVENESS
    from nssh.launch.bridge import _HEALTH

    assert 2 * (LIVENESS + INTERVAL) < _HEALTH, "a call that comes just too early is made up for by the next"


def test_a_stream_is_not_dead_between_two_signs_of_life() -> None:
    from nssh.bus.client import DEAD_AFTER
    from nssh.relay.main import KEEPALIVE

    assert 2 * KEEPALIVE <= DEAD_AFTER
