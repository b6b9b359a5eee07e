from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nssh.base.errors import RemoteError
from nssh.ssh.framing import BOOTSTRAP, Answer, AnswerReader, Script, pack, unpack

if TYPE_CHECKING:
    from pathlib import Path

MARKER = b"nssh-00112233445566778899aabb"
# What a line of an answer may hold: anything but a newline, line separators of other alphabets included.
LINE = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"),
        st.sampled_from("\x0b\x0c\x1c\x1d\x85\u2028\u2029\x1b "),
    ),
    max_size=30,
)
# Noise likes to look like an answer, with the marker cut short or of another run.
NOISE = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [
                b"\r",
                b"\n",
                b"\r\n",
                MARKER,
                MARKER + b"\n",
                b"\n" + MARKER[:-1] + b" begin\n",
                b"\nnssh-ffffffffffffffffffffffff begin\nx y\nnssh-ffffffffffffffffffffffff end 0\n",
                b"\n" + MARKER + b" end 3\n",
                b" " + MARKER + b" begin\n",
            ]
        ),
    ),
    max_size=8,
).map(b"".join)


def frame(lines: list[str], status: int) -> bytes:
    said = "".join(f"{line}\n" for line in lines).encode()
    return b"\n" + MARKER + b" begin\n" + said + b"\n" + MARKER + b" end %d\n" % status


def expected(lines: list[str], status: int) -> Answer:
    return Answer(status, dict(line.partition(" ")[::2] for line in lines), lines)


def feed(output: bytes, cuts: list[int]) -> tuple[Answer | None, int]:
    """Feed output in pieces; return the answer and how many bytes it took."""
    reader = AnswerReader(MARKER)
    edges = sorted({0, len(output), *(cut % (len(output) + 1) for cut in cuts)})
    for start, stop in itertools.pairwise(edges):
        answer = reader.feed(output[start:stop])
        if answer is not None:
            return answer, stop
    return None, len(output)


@given(
    lines=st.lists(LINE),
    status=st.integers(0, 255),
    noise=st.tuples(NOISE, NOISE),
    cuts=st.lists(st.integers(0, 10**6)),
    newline=st.sampled_from([b"\n", b"\r\n"]),
)
def test_the_answer_is_found_in_any_noise_and_whatever_the_pieces_it_arrives_in(
    lines: list[str], status: int, noise: tuple[bytes, bytes], cuts: list[int], newline: bytes
) -> None:
    before, after = noise
    assume(b"\n" + MARKER + b" begin\n" not in b"\n" + before.replace(b"\r\n", b"\n"))
    answer, _ = feed(before + frame(lines, status).replace(b"\n", newline) + after, cuts)
    assert answer == expected(lines, status)


@given(st.lists(LINE, max_size=5), st.integers(0, 255), NOISE)
def test_the_answer_is_there_with_its_last_byte_and_not_before(lines: list[str], status: int, before: bytes) -> None:
    assume(b"\n" + MARKER + b" begin\n" not in b"\n" + before.replace(b"\r\n", b"\n"))
    output = before + frame(lines, status)
    answer, taken = feed(output, list(range(len(output))))
    assert answer == expected(lines, status)
    assert taken == len(output)


@given(NOISE)
def test_noise_alone_is_no_answer_and_its_last_line_is_told(noise: bytes) -> None:
    assume(b"\n" + MARKER + b" begin\n" not in b"\n" + noise.replace(b"\r\n", b"\n"))
    with pytest.raises(RemoteError) as caught:
        unpack(Script(b"", MARKER), noise)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "end", [b"", b"x", b"-1", b"1 1", b"9" * 5000, "²".encode(), b"0x1", b"+1"], ids=lambda end: end.decode()[:8]
)
def test_an_end_without_a_status_is_an_error(end: bytes) -> None:
    with pytest.raises(RemoteError, match="status"):
        AnswerReader(MARKER).feed(b"\n" + MARKER + b" begin\n\n" + MARKER + b" end " + end + b"\n")


def test_an_answer_without_end_is_given_up_at_a_mebibyte_in_time_that_does_not_depend_on_its_pieces() -> None:
    reader = AnswerReader(MARKER)
    assert reader.feed(b"\n" + MARKER + b" begin\n") is None
    for _ in range(61_000):
        assert reader.feed(b"x" * 17) is None
    with pytest.raises(RemoteError, match="1 MiB"):
        reader.feed(b"x" * 17_000)


def test_noise_without_end_is_not_kept() -> None:
    reader = AnswerReader(MARKER)
    for number in range(5000):
        assert reader.feed(b"line %d of the message of the day\n" % number) is None
    assert reader.noise.endswith(b"line 4999 of the message of the day\n")
    assert len(reader.noise) == 4096
    assert len(reader._seen) < 5000
    assert reader.feed(frame(["a b"], 0)) == expected(["a b"], 0)


def test_every_script_has_a_marker_of_its_own() -> None:
    assert len({pack("finish 0\n").marker for _ in range(100)}) == 100


@pytest.mark.parametrize("line", ["a\nb", "\0", "\n"])
def test_a_line_that_the_script_would_read_as_something_else_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="newline"):
        pack("finish 0\n", lines=("fine", line))


# Through real shells.

SHELLS = ["sh", "dash", "bash", "zsh", "fish", "tcsh"]


def login_shell(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    return path


def run(shell: str, script: Script, home: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [login_shell(shell), "-c", BOOTSTRAP],
        input=script.stdin,
        capture_output=True,
        timeout=60,
        check=False,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "ENV": "/nonexistent", "CDPATH": "/", "TERM": "dumb"},
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_every_login_shell_runs_the_script_and_leaves_it_its_data(shell: str, tmp_path: Path) -> None:
    data = bytes(range(256)) * 20 + b"\n\0\nend without newline"
    line = "  'quotes\" $HOME `id` \\n \\\\ !! %s ~ * é "
    script = pack(
        'IFS= read -r first; IFS= read -r second; say first "$first"; say second "[$second]"\n'
        f"cat > {tmp_path}/data; finish 7\n",
        lines=(line, ""),
        data=data,
    )
    done = run(shell, script, tmp_path)
    answer = unpack(script, done.stdout)
    assert (done.returncode, answer.status, answer.fields) == (7, 7, {"first": line, "second": "[]"})
    assert (tmp_path / "data").read_bytes() == data
    assert done.stderr == b""


@pytest.mark.parametrize("shell", SHELLS)
def test_every_login_shell_gives_the_script_a_clean_start(shell: str, tmp_path: Path) -> None:
    script = pack('say mask "$(umask)"; say env "${ENV-unset}"; say cdpath "${CDPATH-unset}"; finish 0\n')
    fields = unpack(script, run(shell, script, tmp_path).stdout).fields
    assert int(fields.pop("mask"), 8) == 0o077
    assert fields == {"env": "unset", "cdpath": "unset"}


@pytest.mark.parametrize(
    ("shell", "startup"),
    [("bash", ".bashrc"), ("zsh", ".zshenv"), ("tcsh", ".tcshrc"), ("fish", ".config/fish/config.fish")],
)
def test_noise_of_login_files_is_passed_over(shell: str, startup: str, tmp_path: Path) -> None:
    file = tmp_path / startup
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("echo 'Welcome!'\nprintf 'no newline at the end'\n")
    script = pack("say done yes; finish 0\n")
    done = subprocess.run(
        [login_shell(shell), "-c", BOOTSTRAP],
        input=script.stdin,
        capture_output=True,
        timeout=60,
        check=False,
        # Bash reads this one, as sshd makes it read ~/.bashrc.
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "BASH_ENV": str(file)},
    )
    assert done.stdout.startswith(b"Welcome!\nno newline at the end")
    assert unpack(script, done.stdout).fields == {"done": "yes"}


@pytest.mark.parametrize("status", [0, 1, 126, 255])
def test_the_status_is_the_scripts(status: int, tmp_path: Path) -> None:
    script = pack(f"finish {status}\n")
    done = run("sh", script, tmp_path)
    assert (done.returncode, unpack(script, done.stdout)) == (status, Answer(status, {}, []))


@given(st.lists(LINE.filter(lambda line: "\0" not in line), max_size=5))
def test_say_repeats_odd_content_as_it_is(lines: list[str]) -> None:
    script = pack(
        'IFS= read -r n; while [ "$n" -gt 0 ]; do IFS= read -r l; say k "$l"; n=$((n - 1)); done; finish 0\n',
        lines=(str(len(lines)), *lines),
    )
    done = subprocess.run(["sh", "-c", BOOTSTRAP], input=script.stdin, capture_output=True, timeout=60, check=True)
    assert unpack(script, done.stdout).lines == [f"k {line}" for line in lines]


def test_what_a_program_left_without_a_newline_hides_nothing(tmp_path: Path) -> None:
    script = pack("say a b; printf 'unfinished'; finish 3\n")
    assert unpack(script, run("sh", script, tmp_path).stdout) == Answer(
        3, {"a": "b", "unfinished": ""}, ["a b", "unfinished"]
    )


def test_a_script_that_dies_on_the_way_is_no_answer(tmp_path: Path) -> None:
    script = pack("say almost done; exit 0\n")
    with pytest.raises(RemoteError):
        unpack(script, run("sh", script, tmp_path).stdout)


def test_input_that_ends_early_runs_nothing(tmp_path: Path) -> None:
    script = pack(f"touch {tmp_path}/ran; finish 0\n")
    cut = script._replace(stdin=script.stdin[: script.stdin.index(b"touch")])
    with pytest.raises(RemoteError):
        unpack(cut, run("sh", cut, tmp_path).stdout)
    assert not (tmp_path / "ran").exists()


def test_a_terminal_on_the_way_is_no_obstacle(tmp_path: Path) -> None:
    """A forced `-t` echoes the script and ends lines with CR LF: the echo is noise."""
    script = pack("say a b; finish 5\n")
    fd, terminal = os.openpty()
    with subprocess.Popen(["sh", "-c", BOOTSTRAP], stdin=terminal, stdout=terminal, stderr=terminal):
        os.write(fd, script.stdin)
        reader = AnswerReader(script.marker)
        answer = None
        while answer is None:
            answer = reader.feed(os.read(fd, 7))
    os.close(fd)
    os.close(terminal)
    assert answer == Answer(5, {"a": "b"}, ["a b"])
