"""Remotes that answer with something else than the truth: one line each, nothing on the terminal, nobody signalled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.lab.laptop import Laptop
from tests.lab.sshd import Sshd

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

# Runs the script it is sent with a shell function in the place of what it says, or answers by itself.
LIAR = """#!/bin/sh
IFS= read -r n
script=$(dd bs=1 count=$n 2>/dev/null)
IFS= read -r mark
begin() {{ printf '\\n%s begin\\n' "$mark"; }}
end() {{ printf '\\n%s end %s\\n' "$mark" "$1"; }}
{body}
"""
LINES = "printf 'now 1795481227\\ntick 321310\\nboot abcdef01\\n'"


def lie(tmp_path: Path, body: str) -> str:
    liar = tmp_path / "liar"
    liar.write_text(LIAR.format(body=body))
    liar.chmod(0o755)
    return f"ForceCommand {liar}"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo go away", "its shell did not run our script (go away)"),
        (":", "its shell did not run our script (no output)"),
        ("begin; echo now never; end 0", "the list of processes makes no sense: 'never' is no time"),
        ("begin; end 77", "failed with status 77"),
        ("begin; end x", "ends without a status"),
        ("begin; yes 'process 1' | head -c 3000000; end 0", "more than 1 MiB"),
        (f"begin; {LINES}; echo process 1 2; end 0", "makes no sense"),
        ("printf '\\033]0;owned\\007\\033[2J'", "]0;owned"),
        ("begin; exit 0", "its shell did not run our script"),
    ],
)
def test_nonsense_is_one_printable_line(tmp_path: Path, body: str, reason: str) -> None:
    with Sshd(options=[lie(tmp_path, body)]) as remote:
        laptop = Laptop(remote.client)
        done = laptop.run("sweep", "--all", "--min-age", "0", "--timeout", "10s", "devbox")
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("nssh: devbox: ")
        assert reason in line
        assert line.isprintable()
        assert done.stdout == ""
        laptop.wait_gone()
        assert laptop.tracebacks() == ""


def test_a_remote_that_never_ends_its_answer_costs_the_limit(tmp_path: Path) -> None:
    with Sshd(options=[lie(tmp_path, "begin; sleep 60")]) as remote:
        laptop = Laptop(remote.client)
        done = laptop.run("sweep", "--all", "--timeout", "5s", "devbox", timeout=40)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("nssh: devbox: no answer in ")
        laptop.wait_gone()


def test_what_a_server_runs_steers_no_terminal(tmp_path: Path) -> None:
    """Names of programs are anybody's choice; so is the address in utmp."""
    body = f"""\
begin
{LINES}
printf 'program 7 /usr/bin/mosh-server\\nprocess 7 1 7 -1 - 1000 mosh-server\\n'
printf 'process 8 7 8 8 pts/0 1000 \\033]0;owned\\007x\\342\\200\\256y\\n'
printf 'who a pts/0 Nov 24 00:45 (\\033[2J\\302\\233 via mosh [7])\\n'
end 0"""
    with Sshd(options=[lie(tmp_path, body)]) as remote:
        laptop = Laptop(remote.client)
        done = laptop.run("sweep", "--dry-run", "devbox")
        assert done.returncode == 0, done.stderr
        assert "attached" in done.stdout
        assert all(line.isprintable() for line in done.stdout.splitlines())
        (host,) = json.loads(laptop.run("sweep", "--json", "devbox").stdout)
        assert host["servers"][0]["pid"] == 7


def test_a_remote_that_says_nothing_of_the_fates_is_not_believed(tmp_path: Path) -> None:
    """It lists one, and answers the order to end it with fates of others, and twice."""
    body = f"""\
case $script in
    *hit*) begin; echo fate 9 ended; echo fate 7 cooked; echo fate 9 ended; end 0 ;;
    *) begin; {LINES}; echo program 7 /usr/bin/mosh-server; echo process 7 1 7 -1 - 1000 mosh-server; end 0 ;;
esac"""
    with Sshd(options=[lie(tmp_path, body)]) as remote:
        laptop = Laptop(remote.client)
        done = laptop.run("sweep", "--all", "--include-mine", "devbox")  # whatever mosh-client runs beside this
        assert done.returncode == 1
        assert done.stdout.split()[-2:] == ["not", "known"]
        laptop.wait_gone()
        assert laptop.tracebacks() == ""
