"""Our reading of known_hosts against OpenSSH's own (`ssh-keygen -F`)."""

from __future__ import annotations

import string
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nssh.ssh.known_hosts import look_up

if TYPE_CHECKING:
    from pathlib import Path

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEGVsQ5jOgOuNJAmKRbLq1zVZAUIHZt9nDWTu1MR6wZo"
LINE = f"{KEY} a comment"

TRICKY = [
    "host",
    "HOST",
    "other,host",
    "*",
    "h?st",
    "ho*",
    "*,!host",
    "!host,*",
    "!other,host",
    "[host]:2222",
    "[host]:*",
    "[h*]:2222",
    "h[o]st",
    "host.example.com",
    "192.168.*.*",
    "",
    "!host",
]
NAMES = ["host", "Host", "[host]:2222", "hst", "host.example.com", "192.168.1.1", "[192.168.1.1]:2222"]


def openssh_lines(name: str, file: Path) -> list[int]:
    done = subprocess.run(["ssh-keygen", "-F", name, "-f", file], capture_output=True, text=True, check=False)
    return [
        int(line.split("found: line ")[1].split()[0]) for line in done.stdout.splitlines() if "found: line " in line
    ]


@pytest.mark.parametrize("name", NAMES)
def test_patterns_match_as_openssh_matches_them(tmp_path: Path, name: str) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("".join(f"{pattern} {LINE}\n" for pattern in TRICKY))
    assert [key.line for key in look_up(name, [str(file)])] == openssh_lines(name, file)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    patterns=st.lists(st.text("ab*?!,[]:2.-", min_size=1, max_size=8), min_size=1, max_size=6),
    name=st.sampled_from(["a", "ab", "a.b", "[a]:2", "aa", "a-b", "2.2"]),
)
def test_any_pattern_matches_as_openssh_matches_it(tmp_path: Path, patterns: list[str], name: str) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("".join(f"{pattern} {LINE}\n" for pattern in patterns))
    assert [key.line for key in look_up(name, [str(file)])] == openssh_lines(name, file)


def test_hashed_names_match(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"host {LINE}\n[host]:2222 {LINE}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
    assert [key.line for key in look_up("host", [str(file)])] == [1]
    assert [key.line for key in look_up("[HOST]:2222", [str(file)])] == [2]
    assert look_up("other", [str(file)]) == []


def test_markers_and_several_files_are_told_apart(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(f"# host {LINE}\n\n@revoked host {LINE}\n")
    second.write_bytes(b"\xff\xfe nonsense\nhost\nhost ssh-ed25519\nhost ssh-ed25519 ???\n|1|x host y\n")
    with second.open("a") as file:
        file.write(f"  @cert-authority *.example.com,host\t{LINE}\r\n")
    found = look_up("host", [str(first), str(second), str(tmp_path / "missing"), str(tmp_path)])
    assert [(key.marker, key.file, key.line) for key in found] == [
        ("@revoked", str(first), 3),
        ("@cert-authority", str(second), 6),
    ]
    assert {key.kind for key in found} == {"ssh-ed25519"}


@given(st.text(string.printable, max_size=200))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_makes_it_fail(tmp_path: Path, text: str) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(text)
    look_up("host", [str(file)])
