from __future__ import annotations

import os
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nssh.base.errors import ToolError
from nssh.local import browser_launcher
from nssh.local.browser_launcher import LONGEST_URL, UrlRefusedError, check_url, launchers, open_url
from nssh.remote import stub
from tests.local.scripts import ScriptDir, calls, process_gone, wait_for

URL = "https://example.com/a?b=c&d=%20e;f='g'$(h)#i"


@pytest.fixture
def bin_dir(tmp_path: Path) -> ScriptDir:
    return ScriptDir(tmp_path / "bin")


def environ(*directories: ScriptDir, **more: str) -> dict[str, str]:
    path = [str(directory.path) for directory in directories]
    return {"PATH": ":".join(path), "HOME": "/nonexistent", **more}


def test_the_configured_command_comes_before_browser_and_the_system(bin_dir: ScriptDir) -> None:
    for name in ("mine", "theirs", "others", "open", "xdg-open", "sensible-browser"):
        bin_dir.add(name, "exit 0")
    given = environ(bin_dir, BROWSER="theirs:others --new '%s' x:absent:'")
    names = [(Path(path).name, *words) for path, *words in launchers(["mine", "-a"], given, "linux")]
    system = [("xdg-open",), ("sensible-browser",)]
    assert names == [("mine", "-a"), ("theirs",), ("others", "--new", "%s", "x"), *system]
    assert Path(launchers(None, environ(bin_dir), "darwin")[0][0]).name == "open"


def test_the_url_is_one_word_where_the_placeholder_says_or_at_the_end(bin_dir: ScriptDir) -> None:
    record = bin_dir.recorder("mine")
    for command in (["mine"], ["mine", "-a"], ["mine", "%s", "z"], ["mine", "--url=%s"]):
        open_url(URL, command=command, environ=environ(bin_dir), patience=60)
    assert calls(record) == [[URL], ["-a", URL], [URL, "z"], [f"--url={URL}"]]


def test_a_placeholder_inside_a_script_is_never_filled(bin_dir: ScriptDir) -> None:
    bin_dir.add("sh", "exit 0")
    record = bin_dir.recorder("xdg-open")
    for script in ("firefox %s", "firefox '%s'", "firefox;%s", "$(%s)"):
        open_url(URL, command=["sh", "-c", script], environ=environ(bin_dir), patience=60)
    assert calls(record) == [[URL]] * 4


def test_the_next_one_is_tried_when_one_fails_and_none_after_one_that_worked(bin_dir: ScriptDir) -> None:
    first, second, third = (
        bin_dir.recorder("mine", "exit 3"),
        bin_dir.recorder("theirs", "kill -KILL $$"),
        bin_dir.recorder("xdg-open"),
    )
    last = bin_dir.recorder("sensible-browser")
    open_url(URL, command=["mine"], environ=environ(bin_dir, BROWSER="theirs"), patience=60)
    assert [calls(record) for record in (first, second, third, last)] == [[[URL]], [[URL]], [[URL]], []]


def test_when_all_fail_the_error_names_them_and_not_the_url(bin_dir: ScriptDir) -> None:
    bin_dir.add("mine", "exit 3")
    bin_dir.add("xdg-open", "kill -TERM $$")
    (bin_dir.path / "sensible-browser").write_text("#!/nonexistent/interpreter\n")
    (bin_dir.path / "sensible-browser").chmod(0o755)
    with pytest.raises(ToolError) as caught:
        open_url(URL, command=["mine"], environ=environ(bin_dir), patience=60)
    text = str(caught.value)
    assert "mine failed (status 3); xdg-open failed (signal 15); sensible-browser can't be run (No such file" in text
    assert "example" not in text


def test_without_any_browser_the_error_says_what_to_set(bin_dir: ScriptDir) -> None:
    with pytest.raises(ToolError, match=r"\[browser\] command"):
        open_url(URL, environ=environ(bin_dir))


def test_our_own_shims_are_never_launched(tmp_path: Path, bin_dir: ScriptDir) -> None:
    ours = ScriptDir(tmp_path / "ours")
    record = tmp_path / "looped"
    for name in ("xdg-open", "sensible-browser", "mine"):
        shim = stub.render("/bin/sh", "/lib").replace(b"import sys", b"touch " + os.fsencode(record))
        (ours.path / name).write_bytes(shim)
        (ours.path / name).chmod(0o755)
    real = bin_dir.recorder("xdg-open", 'test -z "$BROWSER"')
    shim_path = str(ours.path / "xdg-open")
    open_url(URL, command=["mine"], environ=environ(ours, bin_dir, BROWSER=f"{shim_path}:xdg-open"), patience=60)
    assert calls(real) == [[URL]]
    assert not record.exists()


def test_a_browser_that_stays_is_left_running_and_reaped_when_it_ends(tmp_path: Path, bin_dir: ScriptDir) -> None:
    release, record = tmp_path / "release", tmp_path / "pid"
    os.mkfifo(release)
    bin_dir.add("firefox", f"echo $$ >{record}.new; mv {record}.new {record}; read line <{release}; exit 1")
    other = bin_dir.recorder("xdg-open")
    given = environ(bin_dir) | {"PATH": f"{bin_dir.path}:/usr/bin:/bin"}
    open_url(
        URL, command=["firefox"], environ=given, patience=60, failure_window=0.1
    )  # returns when the window is over
    wait_for(record.exists, "it started")
    pid = int(record.read_text())
    assert os.getsid(pid) == pid
    assert not process_gone(pid)
    thread = next(thread for thread in threading.enumerate() if thread.name == "open-url")
    with release.open("w") as fifo:
        fifo.write("end\n")
    thread.join(60)
    assert not thread.is_alive()
    assert not Path(f"/proc/{pid}").exists()
    assert calls(other) == []


def test_a_hung_launcher_is_waited_for_no_longer_than_the_patience(tmp_path: Path, bin_dir: ScriptDir) -> None:
    release, arrived = tmp_path / "release", tmp_path / "arrived"
    os.mkfifo(release)
    bin_dir.add("xdg-open", f"echo x >{arrived}; read line <{release}; exit 7")
    bin_dir.add("sensible-browser", "exit 8")
    failures: list[str] = []
    late = threading.Event()

    def failed(error: ToolError) -> None:
        failures.append(str(error))
        late.set()

    open_url(URL, environ=environ(bin_dir), patience=0.01, failure_window=60, on_late_failure=failed)
    wait_for(arrived.exists, "it started")
    assert not late.is_set()
    release.write_text("end\n")
    assert late.wait(60)
    assert failures == ["no browser took the URL: xdg-open failed (status 7); sensible-browser failed (status 8)"]


def test_launchers_that_never_end_are_bounded(
    tmp_path: Path, bin_dir: ScriptDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser_launcher, "_launchers", threading.BoundedSemaphore(2))
    release, started = tmp_path / "release", tmp_path / "started"
    os.mkfifo(release)
    bin_dir.add("xdg-open", f"echo x >>{started}; read line <{release}")
    given = environ(bin_dir)
    for _ in range(2):
        open_url(URL, environ=given, patience=0)
    with pytest.raises(ToolError, match="still running"):
        open_url(URL, environ=given, patience=0)
    wait_for(lambda: started.exists() and started.read_text() == "x\nx\n", "both started")
    threads = [thread for thread in threading.enumerate() if thread.name == "open-url"]
    while any(thread.is_alive() for thread in threads):
        # A FIFO's line goes to one of its readers: go on until both had one.
        release.write_text("end\n")
        for thread in threads:
            thread.join(0.1)
    bin_dir.add("xdg-open", "exit 0")
    open_url(URL, environ=given, patience=60)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "//example.com", "file:///etc/passwd", "javascript:alert(1)", "data:text/html,x", "-https://x",
        "ftp://x", "https:", "https://", "https:///x", "https:x", "https://?x", "https://:80", "https://a b", " https://a",
        "https://a\n", "https://a/\x00", "https://a/\x1b[2J", "https://a\\b", "https://a/\\b", "https://u@a", "https://u:p@a",
        "https://a:x", "https://a:99999", "https://a:-1", "https://[::1", "https://[fe80::1%25eth0]/", "https://a%2fb/",
        "https://a;b/", "https://a'b/", "https://a$b", "https://℀.com",
        "https://a/\u202e", "https://a/\ud800", "https://a/\u200b", "https://a\u3000b",
        "https://a/" + "x" * LONGEST_URL, "https://a/" + "é" * (LONGEST_URL // 4), "https://" + "é" * 300 + "/",
    ],
)  # fmt: skip
def test_refused(url: str, bin_dir: ScriptDir) -> None:
    record = bin_dir.recorder("xdg-open")
    with pytest.raises(UrlRefusedError) as caught:
        open_url(url, environ=environ(bin_dir), patience=60)
    assert str(caught.value).isprintable()
    assert calls(record) == []


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        (URL, URL),
        ("HTTP://Example.COM", "http://example.com"),
        ("https://a/?", "https://a/?"),
        ("https://a/#", "https://a/#"),
        ("https://a:8443/x", "https://a:8443/x"),
        ("http://127.0.0.1:1455/cb?code=a%2Fb", "http://127.0.0.1:1455/cb?code=a%2Fb"),
        ("http://[::1]:80/[x]", "http://[::1]:80/[x]"),
        ("https://ja.example/日本?q=é#ž", "https://ja.example/%E6%97%A5%E6%9C%AC?q=%C3%A9#%C5%BE"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://pаypal.example/", "https://xn--pypal-4ve.example/"),  # noqa: RUF001  the second letter is Cyrillic
        ('https://a/<"`{|}^>', "https://a/%3C%22%60%7B%7C%7D%5E%3E"),
        ("https://a/b@c", "https://a/b@c"),
    ],
)
def test_accepted(url: str, opened: str) -> None:
    assert check_url(url) == opened


texts = st.text(st.characters(codec="utf-8"), max_size=30)


@given(
    st.one_of(
        texts, st.builds("{}{}".format, st.sampled_from(["http://", "https://", "https://a", "https://a/"]), texts)
    )
)
@example("https://a\uff0fb")
def test_whatever_is_accepted_is_safe_to_pass_on(url: str) -> None:
    try:
        checked = check_url(url)
    except UrlRefusedError:
        return
    assert checked.startswith(("http://", "https://"))
    assert all("!" <= char <= "~" for char in checked)
    assert not set(checked) & set('\\"<>^`{|}')
    assert check_url(checked) == checked
    assert "@" not in urlsplit(checked).netloc
    assert unquote(urlsplit(checked).path) == unquote(urlsplit(url).path)


letters = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=10)
words = st.text("abcXYZ019-._~!$&'()*+,;=:@/?%", max_size=30)
ports = st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format))


schemes = st.sampled_from(["http", "https"])


@given(st.builds("{}://{}.example{}/{}?{}#{}".format, schemes, letters, ports, words, words, words))
def test_every_plain_url_is_accepted_unchanged(url: str) -> None:
    assert check_url(url) == url
