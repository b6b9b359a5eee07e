"""What is given to the shims and to the tools they stand for; and where the two differ, on purpose, with the reason."""

from __future__ import annotations

import shlex
from typing import NamedTuple

PNG = b"\x89PNG\r\n\x1a\nnot much of an image"
JPEG = b"\xff\xd8\xff\xe0not much of one"
UNICODE = "žluť 日本語 🦊 e\u0301\r\n\ttab\n\n".encode()


class Difference(NamedTuple):
    """A way in which a shim differs."""

    reason: str
    """For docs/shims.md, word for word."""
    aspects: frozenset[str]
    """Of status, stdout, stderr, clipboard, blocks: what may differ; the others are equal all the same."""


def _of(aspects: str, reason: str) -> Difference:
    return Difference(reason, frozenset(aspects.split()))


DIFFERENCES = {
    "words": _of(
        "stdout stderr",
        "Help, usage and version are told in nssh's own words, on the same stream and with the same status.",
    ),
    "foreground": _of(
        "blocks status stderr",
        "`xclip -quiet` and `-verbose`, `xsel --nodetach` and `wl-copy --foreground` return at once: the content is on "
        "the laptop, nothing here serves it, and whoever waits for its end would wait for ever.",
    ),
    "commentary": _of("stderr", "`xclip -verbose` says nothing of an X server, because there is none."),
    "once": _of(
        "clipboard",
        "`xclip -loops` and `wl-copy --paste-once` leave the content on the laptop's clipboard, however often it is "
        "pasted.",
    ),
    "anything": _of(
        "status stdout stderr clipboard",
        "An xclip that owns the selection hands out whatever it has under any name, an image as text included; the "
        "laptop's clipboard has a type, and another one is not available.",
    ),
    "atoms": _of(
        "stdout",
        "TARGETS lists the five names under which X programs look for text, not only the one that the owner happens to "
        "have; X's own (TIMESTAMP, MULTIPLE) are left out.",
    ),
    "types": _of(
        "status stdout stderr clipboard",
        "Only text, HTML, RTF, lists of addresses and images are carried; any other type ends with status 1 and one "
        "line, before anything is sent.",
    ),
    "guess": _of(
        "clipboard stdout",
        "`wl-copy` without a type takes content for an image by how it begins and for text otherwise, where the real "
        "one asks xdg-mime, which is rarely there, and takes short texts for binary.",
    ),
    "alternatives": _of(
        "clipboard stdout status stderr",
        "`wl-copy -t text/html` puts HTML there and not the same bytes as plain text beside it.",
    ),
    "nul": _of("clipboard stdout", "`xsel` cuts text at its first NUL; the shim keeps all of it."),
    "newer": _of(
        "status stdout stderr clipboard",
        "Options of newer releases (`xclip -wait`, `-sensitive`, `-debug`, `xsel --trim`, `--name`, `wl-copy "
        "--sensitive`) are known.",
    ),
    "directory": _of("blocks status stderr clipboard", "`xclip DIRECTORY` is an error, where the real one never ends."),
    "files": _of(
        "status stderr clipboard", "A list that names files of the remote is refused: they are not on the laptop."
    ),
    "follow": _of("clipboard", "`xsel --follow` and `--zeroflush` read to the end and copy once."),
    "keep": _of(
        "status stdout stderr clipboard",
        "What is about other selections (`xsel --keep`, `--exchange`), displays and seats is for the real tool.",
    ),
    "watch": _of(
        "blocks status stdout stderr", "`wl-paste --watch` is refused: a laptop is not watched through a bus."
    ),
    "tried": _of("stderr", "The real xdg-open tells which browsers it has looked for, before the same last line."),
}


class Case(NamedTuple):
    """One invocation."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    before: tuple[str, bytes] | None = ("text/plain", b"before")
    """What is on the clipboard; None for nothing."""
    differs: str = ""
    """The key in DIFFERENCES."""
    blocks: bool = False
    """Whether the real tool stays."""
    display: bool = True
    """Whether the real tool has one."""


def _c(
    line: str,
    stdin: bytes = b"",
    before: tuple[str, bytes] | None = ("text/plain", b"before"),
    differs: str = "",
    *,
    blocks: bool = False,
    display: bool = True,
) -> Case:
    return Case(tuple(shlex.split(line)), stdin, before, differs, blocks, display)


_TEXT = ("text/plain", b"text")
_IMAGE = ("image/png", PNG)
_HTML = ("text/html", b"<b>x</b>")

# `one` and `two` are files that hold 1 and 2 with a newline each; `nowhere` does not exist; `big` has 300 kB.
XCLIP = [
    # in
    *[_c(f"xclip {words}", b"new\n") for words in (
        "-sel c", "-se c", "-sele clip", "-selection clipboard", "-selection CLIPBOARD", "-selection c", "-sel cxyz",
        "-i -sel c", "-in -sel c", "-sel c -i", "-sel c -silent", "-sel c -si", "-sel c -l 0", "-loops 5 -sel c -l 0",
        "-sel p -sel c", "-sel c -t UTF8_STRING", "-sel c -target UTF8_STRING", "-sel c -ta UTF8_STRING",
        "-sel c -t text/plain", "-sel c -t text/plain;charset=utf-8".replace(";", "\\;"), "-sel c -t STRING",
        "-sel c -t TEXT",
        "-sel c -noutf8", "-sel c -n", "-sel c -quiet -silent", "-sel c -o -i", "-sel c -out -in", "-sel c -l abc",
        "-sel c -l -1", "-sel c -noutf8 -t image/png",
    )],
    *[_c("xclip -sel c", data) for data in (
        b"", b"x", b"\n", b"no newline", UNICODE, b"nul\0inside", b"\xff\xfe\x80", b"\r\n\r\n", b"-o", b"ERROR: no",
        b"x" * 3071, b"x" * 3072, b"x" * 3073, b"y" * 300_000,
    )],
    *[_c(f"xclip -sel c {words}", b"new\n\n") for words in (
        "-r", "-rmlastnl", "-rm", "-f", "-filter", "-fi", "-f -r", "-r -f", "-f -o", "-f -quiet -silent",
    )],
    _c("xclip -sel c -r", b"\n"), _c("xclip -sel c -r", b""), _c("xclip -sel c -r", b"x"), _c("xclip -sel c -f", b""),
    *[_c(f"xclip -sel c {words}", b"ignored") for words in (
        "one", "one two", "two one one", "-i one", "one -i", "-r one", "-f one", "one -r two", "big", "-- one",
        "nowhere", "one nowhere", "nowhere one", "-", "-nonsense", "--", "--help", "-x", "-v", "-s", "-sel", "-t",
        "-l", "-d",
        "-target", "-T x", "-O", "-SEL c", "''",
    )],
    _c("xclip -sel c -t image/png", PNG), _c("xclip -sel c -t image/jpeg", JPEG), _c("xclip -sel c -t image/png one"),
    _c("xclip -sel c -t text/html", b"<b>new</b>"), _c("xclip -sel c -t text/uri-list", b"https://x.y/\r\n"),
    _c("xclip -sel c -t text/uri-list", b"file:///etc/passwd\r\n", differs="files"),
    _c("xclip -sel c -t application/json", b"{}", differs="types"),
    _c("xclip -sel c -t x-special/gnome-copied-files", b"copy\n", differs="types"),
    _c("xclip -sel c -t nonsense", b"x", differs="types"), _c("xclip -sel c .", differs="directory", blocks=True),
    _c("xclip -sel c -quiet", b"new", differs="foreground", blocks=True),
    _c("xclip -sel c -f -q", b"new", differs="foreground", blocks=True),
    _c("xclip -sel c -verbose", b"new", differs="foreground", blocks=True),
    _c("xclip -sel c -silent -quiet one", differs="foreground", blocks=True),
    _c("xclip -sel c -l 2000 -q", b"new", differs="foreground", blocks=True),
    _c("xclip -sel c -l 1", b"new", differs="once"),
    _c("xclip -sel c -debug", b"new", differs="newer"),
    _c("xclip -sel c -wait 5", b"new", differs="newer"), _c("xclip -sel c -sensitive", b"new", differs="newer"),
    # out
    *[_c(f"xclip {words}", b"ignored", _TEXT) for words in (
        "-sel c -o", "-o -sel c", "-out -sel c", "-sel c -ou", "-selection clipboard -o", "-sel c -o -t UTF8_STRING",
        "-sel c -o -t STRING", "-sel c -o -t TEXT", "-sel c -o -t text/plain", "-sel c -i -o", "-sel c -o nowhere",
        "-sel c -o one two", "-sel c -o -quiet", "-sel c -o -f", "-sel c -o -noutf8", "-sel c -o -l 3", "-sel c -o -r",
        "-sel c -o -t", "-sel c -o -noutf8 -t image/png",
        "-sel c -o -nonsense", "-sel c -o --", "-sel c -o -selection clip",
    )],
    *[_c("xclip -sel c -o", before=("text/plain", data)) for data in (
        b"", b"x", b"x\n", b"\n\n", UNICODE, b"nul\0inside", b"\xff\xfe\x80", b"x" * 3072, b"x" * 3073, b"y" * 300_000,
    )],
    _c("xclip -sel c -o -r", before=("text/plain", b"x\n\n")), _c("xclip -sel c -o -r", before=("text/plain", b"\n")),
    *[_c(f"xclip -sel c -o {words}", before=None) for words in (
        "", "-t UTF8_STRING", "-t image/png", "-t TARGETS", "-t text/html", "-t nonsense", "-r", "-t ''",
    )],
    _c("xclip -sel c -o -t image/png", before=_IMAGE), _c("xclip -sel c -o -t image/png -r", before=_IMAGE),
    _c("xclip -sel c -o -t text/html", before=_HTML),
    _c("xclip -sel c -o -t image/png", before=_TEXT, differs="anything"),
    _c("xclip -sel c -o", before=_IMAGE, differs="anything"),
    _c("xclip -sel c -o -t nonsense/x", before=_TEXT, differs="anything"),
    _c("xclip -sel c -o -t TARGETS", before=_TEXT, differs="atoms"),
    _c("xclip -sel c -o -t TARGETS", before=_IMAGE), _c("xclip -sel c -o -t TARGETS", before=_HTML),
    _c("xclip -sel c -o -verbose", before=_TEXT, differs="commentary"),
    # help, and no display
    *[_c(f"xclip {words}", differs="words")
        for words in ("-help", "-h", "-version", "-help -version", "-sel c -o -vers")],
    *[_c(f"xclip {words}", b"x", display=False) for words in (
        "", "-o", "-sel p", "-sel s -o", "-sel b", "-sel xyz", "-sel", "-selection=c", "-sel c -d :7",
        "-display nonsense -o",
        "nowhere", "-o -t image/png", "-quiet", "-f",
    )],
]  # fmt: skip

XSEL = [
    *[_c(f"xsel {words}", b"new\n") for words in (
        "-b", "-b -i", "-bi", "-ib", "--clipboard --input", "-b -i -v", "-b -i -t 60000", "-b -it 60000",
        "-b -i -l /dev/null",
        "-b -o", "-bo", "--output --clipboard", "-b -i -o", "-b -o -i", "-b -a", "-ba", "--append -b", "-b -a -o",
        "-b -oa",
        "-b -p -o", "-b -s -i", "-p -b -o", "-b -o -t 0", "-b --selectionTimeout 5 -o",
    )],
    *[_c("xsel -bi", data) for data in (b"x", b"\n", UNICODE, b"\xff\xfe\x80", b"x" * 3073, b"y" * 30_000)],
    *[_c("xsel -bo", before=("text/plain", data)) for data in (b"x", b"\n", UNICODE, b"x" * 3073, b"y" * 30_000)],
    *[_c(f"xsel {words}", before=None) for words in ("-bo", "-b -o", "-b")],
    *[_c(f"xsel {words}", b"new", before=None) for words in ("-b", "-bi", "-ba", "-b -a -o")],
    *[_c(f"xsel {words}", b"new") for words in ("-b -c", "-bc", "--clear -b", "-b -c -o", "-b -i -c")],
    _c("xsel -bi", b""), _c("xsel -ba", b""),
    _c("xsel -bi", b"nul\0inside", differs="nul"),
    _c("xsel -bo", before=_IMAGE),
    _c("xsel -b -i -n", b"new", differs="foreground", blocks=True), _c("xsel -bin",
    b"new", differs="foreground", blocks=True),
    _c("xsel -b -f", b"new"), _c("xsel -b -z", b"a\0b", differs="follow"),
    *[_c(f"xsel {words}", b"new", differs="words") for words in (
        "-b --nonsense", "-b -y", "-b file", "-b -t", "-h", "--help", "--version", "-b --inp", "-bt", "--",
        "-b --display",
        "--version --help", "-bl",
    )],
    *[_c(f"xsel {words}", b"new\n", differs="newer") for words in (
        "-b --trim", "--trim -bi", "-bi --name x", "-bim x",
    )],
    _c("xsel -bo --trim", before=("text/plain", b"x\n"), differs="newer"),
    _c("xsel -b -k", differs="keep"), _c("xsel -b --exchange", differs="keep"),
    *[_c(f"xsel {words}", b"x", display=False) for words in (
        "", "-o", "-i", "-p", "-so", "-k", "-x", "--keep", "-b --display :7 -o", "--display nonsense",
    )],
]  # fmt: skip

WAYLAND = [
    *[_c(f"wl-copy {words}", b"new\n") for words in (
        "", "--", "-r", "one two", "'two words'", "-- -x", "-", "x -n", "-n", "--trim-newline", "--trim", "-nn", "-o",
        "--paste-once", "--pa", "-t text/plain", "--type text/plain", "--type=text/plain", "--ty text/plain",
        "-ttext/plain",
        "-nt text/plain", "-t UTF8_STRING", "-t STRING", "-t text/plain\\;charset=utf-8", "-c", "--clear", "-c x y",
        "--cl",
        "-co", "ä", "-n x",
    ) if words not in {"-o", "--paste-once", "--pa", "-r"}],
    *[_c("wl-copy", data) for data in (b"a line\n", UNICODE, b"x" * 3073 + b"\n", b"words " * 50_000)],
    _c("wl-copy -t image/png", PNG), _c("wl-copy -t image/jpeg", JPEG), _c("wl-copy -n", b"a line\n\n"),
    _c("wl-copy", b""), _c("wl-copy ''", b"x"),
    _c("wl-copy", PNG, differs="guess"), _c("wl-copy", b"nul\0x", differs="guess"), _c("wl-copy -n",
    b"a", differs="guess"),
    _c("wl-copy", b"#!/bin/sh\necho\n"),
    _c("wl-copy -t text/html '<b>x</b>'", differs="alternatives"),
    _c("wl-copy -t application/json '{}'", differs="types"), _c("wl-copy -t nonsense x", differs="types"),
    _c("wl-copy -t text/uri-list file:///x", differs="files"),
    _c("wl-copy -o x", differs="once"), _c("wl-copy --paste-once x", differs="once"),
    _c("wl-copy -f x", differs="foreground", blocks=True), _c("wl-copy --foreground",
    b"new\n", differs="foreground", blocks=True),
    _c("wl-copy --sensitive x", differs="newer"),
    *[_c(f"wl-copy {words}", b"x\n", differs="words") for words in (
        "--nonsense", "-x", "-t", "--type", "--p x", "--clear=1", "-nx", "-h", "--help", "-v", "--version",
    )],
    *[_c(f"wl-paste {words}", before=_TEXT) for words in (
        "", "-n", "--no-newline", "--no", "-t text/plain", "-t text", "-t TEXT", "-t UTF8_STRING", "-t STRING -n",
        "-nt text/plain", "--type=text", "-t text/plain\\;charset=utf-8", "-l", "--list-types", "-ln", "--list",
        "-t image/png", "-t image", "-t text/html", "-t nonsense", "-t image/png -n",
    )],
    *[_c("wl-paste", before=("text/plain", data))
        for data in (b"x\n", UNICODE, b"nul\0x", b"\xff\xfe", b"x" * 300_000)],
    *[_c(f"wl-paste {words}", before=None) for words in ("", "-n", "-l", "-t text/plain", "-t image/png", "-t image")],
    *[_c(f"wl-paste {words}", before=_IMAGE) for words in (
        "", "-n", "-t image/png", "-t image", "-l", "-t text", "-t text/plain",
    )],
    _c("wl-paste -t text/html", before=_HTML, differs="alternatives"),
    *[_c(f"wl-paste {words}", differs="words") for words in (
        "x", "--nonsense", "-z", "-t", "-w", "--watch", "-h", "--version", "-nonsense",
    )],
    _c("wl-paste -w cat", differs="watch", blocks=True), _c("wl-paste --watch true", differs="watch", blocks=True),
    _c("wl-copy -s nope x", differs="keep"), _c("wl-paste -s nope", differs="keep"),
    *[_c(line, b"x", display=False) for line in (
        "wl-copy -p x", "wl-copy --primary", "wl-copy -s seat0 x", "wl-paste -p", "wl-paste --primary -n",
        "wl-paste -s seat0",
    )],
]  # fmt: skip

XDG = [
    *[_c(f"xdg-open {words}", display=False) for words in (
        "-x", "--nonsense", "/nowhere", "nowhere", "file:///nowhere", "a b", "https://x.y/ https://x.y/",
        "-x https://x.y/",
        "./nowhere", "nowhere/x.html",
    )],
    *[_c(f"xdg-open {words}", display=False, differs="tried") for words in (
        "/etc/passwd", "one", "file:///etc/passwd", "mailto:x@y.z", "'javascript:alert(1)'", "https:/x", "ftp://x.y/",
    )],
    *[_c(f"xdg-open {words}", display=False, differs="words") for words in ("", "--help", "--version", "--manual")],
    _c("sensible-browser", display=False), _c("sensible-browser /etc/passwd", display=False),
]  # fmt: skip

ALL = [*XCLIP, *XSEL, *WAYLAND, *XDG]
