"""Checks the remote: shell, clock, python3, the installed nssh, the PATH of its shells, its files, mosh."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

from nssh import __version__
from nssh.base.errors import RemoteError
from nssh.base.printable import printable
from nssh.doctor import remote_facts
from nssh.doctor.remote_helper import RemoteHelper
from nssh.doctor.report import failed, ok, warning
from nssh.doctor.step_runner import NotTried
from nssh.install import deploy
from nssh.launch import prepare_remote
from nssh.launch.route import find_program
from nssh.ssh import framing
from nssh.ssh.script import run_script
from nssh.state import remembered_hosts, topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.doctor.remote_facts import Shell
    from nssh.doctor.report import Result
    from nssh.doctor.step_runner import Examination

# Seconds. Clocks are compared by whole seconds.
_CLOCK = 2.0
_CLOCK_WRONG = 60.0

# Seconds for the shells of the remote, each of which is started twice, and for the rest.
_LOOK = 20.0


def shell(exam: Examination) -> Result:
    """Run a script through the login shell, as nssh runs everything on the remote."""
    exam.asked, started = time.time(), time.monotonic()
    try:
        script = prepare_remote.go_shims() + framing.source(__file__, "check_remote.sh")
        answer = run_script(exam.connection, script, timeout=exam.options.timeout, what="a script on the remote")
    except RemoteError as error:
        return failed(str(error), "its login shell must hand commands to sh, and its start-up files must let it")
    exam.answered, seconds = time.time(), time.monotonic() - started
    exam.said = answer.fields
    return ok(f"{exam.said.get('shell') or 'its shell'} on {exam.said.get('system') or '?'} runs scripts", seconds)


def clock(exam: Examination) -> Result:
    """Compare the remote's clock with this machine's."""
    now = exam.said.get("now", "")
    if not (now.isascii() and now.isdigit() and len(now) < 12):
        return warning("its date command does not tell the seconds: not compared")
    return compare(int(now), exam.asked, exam.answered, exam.host)


def compare(theirs: int, asked: float, answered: float, whose: str) -> Result:
    """Judge another machine's clock.

    Args:
        theirs: What the other clock showed, in whole seconds since the epoch.
        asked: When it was asked, by this machine's clock. The two may differ by the time that the question took.
        answered: When the answer was there, by this machine's clock.
        whose: What to call the other machine.
    """
    ahead, behind = theirs - answered, asked - (theirs + 1)
    off = max(ahead, behind, 0.0)
    if off < _CLOCK:
        return ok(f"the clocks of this machine and of {whose} agree")
    text = f"the clock of {whose} is {off:.0f} s {'ahead of' if ahead > behind else 'behind'} this machine's"
    advice = "set the one that is wrong (timedatectl set-ntp true): certificates, logins and logs go by it"
    return failed(text, advice) if off > _CLOCK_WRONG else warning(text, advice)


def python(exam: Examination) -> Result:
    """Start the helper, which needs python3, and collect the facts for the steps that follow."""
    host = exam.host
    started = time.monotonic()
    try:
        exam.helper = RemoteHelper(exam.connection, exam.name, exam.options.timeout)
        seconds = time.monotonic() - started
        # From now on the helper may have files to remove.
        exam.undo.callback(exam.helper.finish, 5.0)
        exam.facts = remote_facts.read(
            exam.helper.ask({"do": "facts", "salt": exam.salt}, exam.options.timeout + _LOOK)
        )
    except RemoteError as error:
        if exam.said.get("go-shims") and not _go_problem(exam):
            raise NotTried(f"{error}; Go's nssh is there, which needs none, and this doctor does") from None
        return failed(str(error), f"install python3 (3.8 or newer) on {host}; nssh there needs nothing else")
    text = f"{exam.facts.python} {exam.facts.python_version}"
    return ok(text if exam.facts.on_path else f"{text}, which is not on the PATH of a command", seconds)


def _go_problem(exam: Examination) -> str:
    """Return why the Go program's shims can't reach the bus; empty if they can."""
    config = exam.config
    credentials = bool(config.token or config.user)
    return remembered_hosts.go_shims_problem(exam.words, config.server, credentials=credentials)


def _go(exam: Examination) -> Result:
    """Judge the Go program's shims, which are there in the place of ours."""
    version = f"Go's nssh {printable(exam.facts.nssh.go_version, 60)}".rstrip()
    problem, _, advice = _go_problem(exam).partition(": ")
    if problem:
        return failed(f"{version} is there, {problem.partition(', ')[2]}", advice.removeprefix("run "))
    return ok(f"{version}, works over ntfy")


def nssh(exam: Examination) -> Result:
    """Check that the remote has the same nssh as this machine, complete, and that it runs."""
    if exam.facts.nssh.go_shims:
        return _go(exam)
    seen, infect = exam.facts, f"nssh infect {exam.words}"
    version, digest, *_ = [*seen.nssh.line.split(" ", 2), "", ""]
    wrong, advice = "", f"{infect} repairs it"
    if not version:
        wrong, advice = f"{exam.host} has none", infect
    elif version != __version__:
        wrong, advice = f"{exam.host} has {version}, this is {__version__}", infect
    elif seen.nssh.problem:
        wrong = f"{version} is there and does not run: {seen.nssh.problem}"
    elif seen.nssh.foreign:
        wrong, advice = f"{seen.nssh.foreign[0]} is not nssh's", f"nssh infect --force {exam.words} puts its own there"
    elif seen.nssh.lacking:
        wrong = f"{', '.join(seen.nssh.lacking)} of nssh's are missing"
    if wrong:
        return failed(wrong, advice)
    if digest != deploy.payload().digest:
        return warning(f"{version} there is another build than this {__version__}", infect, seen.nssh.ms / 1000)
    return ok(version, seen.nssh.ms / 1000)


def path(way: str, when: str) -> Callable[[Examination], Result]:
    """Return a step that checks the PATH of the remote's shells.

    Args:
        way: How the shells are started: `login`, `interactive` or `command`.
        when: The same in words for the user.
    """

    def look(exam: Examination) -> Result:
        shells = [one for one in exam.facts.shells if one.way == way]
        bad = [one for one in shells if one.shadows or one.missing or not one.answered]
        whose = "the Go program's" if exam.facts.nssh.go_shims else "nssh's"
        if not shells:
            return warning(f"no shell there could be asked, {when}")
        if not bad:
            behind = [real for one in shells for real in one.behind.values()]
            more = f"; real ones, as {behind[0]}, behind them" if behind else ""
            return ok(f"{', '.join(one.shell for one in shells)}: {whose} xclip, xdg-open … come first{more}")
        text = "; ".join(f"{one.shell} {when} {_what(one, whose)}" for one in bad)
        advice = next((one.advice for one in bad if one.advice), "")
        # A warning only: few programs are started by `ssh host command` or by a shell that is not the login shell, and
        # not every shell has a start-up file for these cases.
        if way == "command" or not any(one.answered and one.own for one in bad):
            return warning(text, advice or "give such commands a PATH of their own, if they need the clipboard")
        return failed(text, advice)

    return look


def _what(one: Shell, whose: str) -> str:
    if not one.answered:
        return "gave no answer"
    if one.shadows:
        name, found = next(iter(one.shadows.items()))
        more = len(one.shadows) - 1
        return f"finds {found} before {whose} {name}" + (f" (and {more} more)" if more else "")
    return f"does not find {', '.join(one.missing[:3])}" + (" …" if len(one.missing) > 3 else "")


def state(exam: Examination) -> Result:
    """Check that the remote's state directory can be written, by its user only."""
    seen = exam.facts.state
    if seen.problem:
        return failed(f"{seen.path} can't be used: {seen.problem}", f"make it writable on {exam.host}, or free space")
    if seen.mode & 0o077:
        return warning(f"{seen.path} is open to others until the next session closes it", f"chmod 700 {seen.path}")
    return ok(seen.path)


def session_file(exam: Examination) -> Result:
    """Check that the remote's session file names the topic of a session of this machine."""
    seen = exam.facts.session
    live = [record for record in exam.sessions if not record.foreign]
    again = f"{'end the session; ' if live else ''}nssh {exam.words} writes it anew"
    wrong = ""
    if seen.problem:
        wrong = seen.problem
    elif seen.unusable:
        wrong, again = seen.unusable, f"on {exam.host}, correct it: no shim there can do without"
    elif not seen.there:
        wrong = f"{seen.path} is missing, though a session is live" if live else ""
    elif not seen.mine or seen.mode & 0o077:
        wrong = f"others can open {seen.path}, and it holds a secret"
    elif seen.overridden:
        wrong, again = f"{seen.overridden} there beats the session file", "take server and topic out of it there"
    elif live and seen.topic not in {_hash(exam, record.topic) for record in live}:
        wrong = "programs there speak to another session than the live one: of another machine, or an older one"
    if wrong:
        return failed(wrong, again)
    if not seen.there:
        return ok("none yet: the first session writes it")
    if live:
        return ok("programs there speak to the live session")
    ours = exam.config.topic or topics.current(exam.target.key, exam.config.server)
    whose = "this machine's last session" if _hash(exam, ours) == seen.topic else "another machine, or an older session"
    return ok(f"of {whose}; none is live at present")


def _hash(exam: Examination, topic: str) -> str:
    return hashlib.sha256((exam.salt + topic).encode()).hexdigest()


def mosh(exam: Examination) -> Result:
    """Check that mosh-client, mosh-server and a UTF-8 locale are there."""
    here, there = find_program("mosh-client"), exam.said.get("mosh", "")
    if exam.target.proxied:
        return ok("not used behind a jump host: sessions are ssh's")
    if not here or not there:
        lacking = " and ".join([*(["this machine"] if not here else []), *([exam.host] if not there else [])])
        return warning(
            f"not on {lacking}: sessions are ssh's, and don't outlive a change of network", "install mosh there"
        )
    if "UTF-8" not in {exam.said.get("charmap", "").upper(), exam.said.get("utf8", "").upper()}:
        return failed(f"{there} needs a UTF-8 locale, and {exam.host} has none", "install the locale C.UTF-8 there")
    # Whether UDP gets through is only known once there is a session.
    return ok(f"{there}, and {os.path.basename(here)} here (its UDP is not tried)")


def desktop(exam: Examination) -> Result:
    """Warn if the remote has a desktop, whose own clipboard and browser the shims hide."""
    if exam.facts.desktop:
        return warning(f"it looks like a desktop ({exam.facts.desktop}), whose clipboard and browser nssh hides")
    return ok("a machine without a desktop of its own")
