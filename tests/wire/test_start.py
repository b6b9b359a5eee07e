"""What a shim imports is part of its speed: none of the modules that cost milliseconds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.wire.interpreters import INTERPRETERS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "typing re json socket ssl base64 enum dataclasses subprocess threading pathlib logging urllib contextlib "
    "encodings.idna"
)

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from nssh.wire import envelope, files, http, session_file
made = envelope.Envelope("open", url="https://x/\\u00e9", body=b"x" * 3072, id=envelope.new_id())
assert envelope.decode(envelope.encode(made)) == made
whole = session_file.Session("unix:/x/relay.sock", "t", ("targets",), "tk")
assert session_file.parse(session_file.render(whole)) == whole
try:
    http.Client("http://127.0.0.1:1").connect()
except http.Unreachable:
    pass
print(*[name for name in sys.argv[2:] if name in sys.modules])
"""


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_the_wire_works_and_imports_nothing_heavy(interpreter: str) -> None:
    result = subprocess.run(
        [interpreter, "-I", "-S", "-c", PROGRAM, str(ROOT), *HEAVY.split()],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []
