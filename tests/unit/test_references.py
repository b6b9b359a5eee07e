"""References lead somewhere: to files, modules, make targets, headings, traps and guarantees that exist.

Looked at are comments and docstrings of Python files, whole lines of the documentation, the Makefile and .ci.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.unit.test_layers import LAYERS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

FILE = re.compile(r"(?<![\w/.$~…>*-])(?:\.{1,2}/)*\.?[\w-]+(?:/[\w.-]+)*\.(?:md|py|sh)(?![\w/-])")
FOLDER = re.compile(r"(?<![\w/.$~…:-])(?:nssh|actors|tests|docs)/[\w/]*\w(?![\w.*<{]*[/.*<{]\w)")
MODULE = re.compile(r"(?<![\w/.@-])(?:nssh|actors|tests)(?:\.[A-Za-z_]\w*)+(?![\w/-])")
TARGETS = re.compile(r"`(?:\w+=\S+ )*make ([^`]+)`|^(?:\$ )?(?:\w+=\S+ )*make ([a-z]+)(?= |$)", re.MULTILINE)
ASSIGNMENT = re.compile(r"\w+=(?:'[^']*'|\S*)")
CITED_HEADING = re.compile(r'((?:docs/)?[\w-]+\.md), "([^"]+)"')
LINK = re.compile(r"\]\((?!https?:)([\w./-]*)#([\w-]+)\)")
TRAPS = re.compile(r"\btraps? (\d+)(?: to (\d+))?")
GUARANTEE = re.compile(r"\bG\d+\b")
SECTION = re.compile(r"(?<!ICCCM )(?<!POSIX )\b[Ss]ections? \d+(?!\d* of RFC)")


class Text(NamedTuple):
    """A comment, a docstring, or a paragraph; `path` is relative to the project."""

    path: str
    line: int
    text: str


def python_texts(path: str, source: str) -> Iterator[Text]:
    """Yield the comments of a Python file, those of adjacent lines as one, and its docstrings."""
    block: list[str] = []
    start = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if block and token.start[0] != last + 1:
            yield Text(path, start, " ".join(block))
            block = []
        if not block:
            start = token.start[0]
        block.append(token.string.lstrip("# "))
        last = token.start[0]
    if block:
        yield Text(path, start, " ".join(block))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            # A reference may be broken by the end of a line.
            yield Text(path, node.lineno, re.sub(r"\n +", " ", node.value.value))


def prose_texts(path: str, source: str) -> Iterator[Text]:
    """Yield the paragraphs of a text, lists and tables as one each."""
    line = 1
    for paragraph in source.split("\n\n"):
        yield Text(path, line, re.sub(r"^ {4}", "", paragraph, flags=re.MULTILINE))
        line += paragraph.count("\n") + 2


def texts() -> list[Text]:
    """Return all that may hold references, from the files that belong to the project."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: list[Text] = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if not path.exists() or path == Path(__file__):
            continue
        if path.suffix == ".py":
            found += python_texts(name, path.read_text(encoding="utf-8"))
        elif path.suffix == ".md" or name == "Makefile" or name.startswith(".ci/"):
            found += prose_texts(name, path.read_text(encoding="utf-8"))
    return found


@cache
def headings(page: Path) -> tuple[str, ...]:
    return tuple(re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE))


def slug(heading: str) -> str:
    """Return the anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@cache
def names(path: Path) -> frozenset[str]:
    """Return what a module defines, and what its classes do."""
    found: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(f"{prefix}{node.name}")
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.Assign):
                found.update(f"{prefix}{target.id}" for target in node.targets if isinstance(target, ast.Name))
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(f"{prefix}{node.target.id}")
            elif isinstance(node, ast.ImportFrom):
                found.update(f"{prefix}{alias.asname or alias.name}" for alias in node.names)
            elif isinstance(node, ast.If):
                visit([*node.body, *node.orelse], prefix)

    visit(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return frozenset(found)


def module_exists(dotted: str) -> bool:
    """Return whether `a.b.c` is a module or package, or a name that one defines."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:length])
        rest = ".".join(parts[length:])
        if base.is_dir() and not rest:
            return True
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.exists() and (not rest or rest in names(path)):
                return True
    return False


def find_file(name: str, text: Text, before: Path | None) -> Path | None:
    """Find the file that a text means.

    A path is relative to the project, to `nssh`, or to the folder of the text. A bare name may also stand in the folder
    of the path named `before` it.
    """
    here = (ROOT / text.path).parent
    places = [ROOT, ROOT / "nssh", here]
    if "/" not in name and before is not None:
        places.append(before.parent)
    return next((place / name for place in places if (place / name).is_file()), None)


@cache
def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@cache
def traps() -> set[int]:
    page = (DOCS / "ntfy.md").read_text(encoding="utf-8")
    return {int(number) for number in re.findall(r"^(\d+)\. ", page, re.MULTILINE)}


@cache
def guarantees() -> set[str]:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| (G\d+) ", page, re.MULTILINE))


def headings_cited(text: Text) -> Iterator[tuple[str, bool]]:
    """Yield each heading that a text refers to, by its words or by its anchor, and whether it exists."""
    for page, heading in CITED_HEADING.findall(text.text):
        path = find_file(page, text, None)
        yield f'{page}, "{heading}"', path is not None and heading in headings(path)
    for page, anchor in LINK.findall(text.text):
        path = (ROOT / text.path).parent / page if page else ROOT / text.path
        known = path.is_file() and anchor in map(slug, headings(path))
        yield f"{page}#{anchor}", known


def references(text: Text) -> Iterator[tuple[str, bool]]:
    """Yield each reference of a text, and whether it leads somewhere."""
    before = None
    for match in FILE.finditer(text.text):
        name = match.group()
        path = find_file(name, text, before)
        before = path or before
        yield name, path is not None
    for match in FOLDER.finditer(text.text):
        path = ROOT / match.group()
        yield match.group(), path.exists() or path.with_suffix(".py").exists()
    for match in MODULE.finditer(text.text):
        yield match.group(), module_exists(match.group())
    yield from headings_cited(text)
    for match in TARGETS.finditer(text.text):
        for word in ASSIGNMENT.sub("", match.group(1) or match.group(2)).split():
            yield f"make {word}", word in targets()
    for first, last in TRAPS.findall(text.text):
        yield f"trap {first}", traps() >= set(range(int(first), int(last or first) + 1))
    for match in GUARANTEE.finditer(text.text):
        yield match.group(), match.group() in guarantees()
    for match in SECTION.finditer(text.text):
        yield f"{match.group()} (call a heading by its name)", False


def test_references_lead_somewhere() -> None:
    found = [(text, *reference) for text in texts() for reference in references(text)]
    assert len(found) > 200
    lost = [f"{text.path}:{text.line}: {name}" for text, name, known in found if not known]
    assert not lost, "\n" + "\n".join(lost)


@pytest.mark.parametrize(
    "text",
    [
        "see DESIGN.md", "docs/nothing.md", "nssh/bus/nothing.py", "launch/nothing.py", "`launcher.py` alone",
        "`nssh/launch/launcher.py` and `nothing.py`", "the tests in tests/nothing", "nssh/nothing has it",
        "nssh.bus.nothing", "`nssh.bus.feed.Nothing`", "nssh.bus.feed.Feed.nothing", "actors.nothing.main",
        "`make nothing`", "`make lint nothing`", "`make test nothing=1 clean nothing`", "make nothing   for all",
        'docs/ntfy.md, "Nothing"', 'docs/nothing.md, "Publish"', "[a](docs/guide.md#nothing)", "[a](#nothing)",
        "docs/ntfy.md, trap 99", "traps 1 to 99", "guarantee G9", "section 2", "Sections 3 and 4",
    ],
)  # fmt: skip
def test_what_leads_nowhere_is_found(text: str) -> None:
    assert not all(known for _, known in references(Text("README.md", 1, text)))


@pytest.mark.parametrize(
    "text",
    [
        "docs/guide.md", "nssh/bus/feed.py", "launch/launcher.py", "`nssh/launch/launcher.py` and `route.py`",
        "the tests in tests/bus", "nssh/bus has it", "nssh.bus.feed", "`nssh.bus.feed.Feed.run`",
        "python -m actors.tree", "`make lint type`", "`make test ARGS='-k name'`", "`SEED=1 make soak`",
        "make soak   for all", 'docs/ntfy.md, "The seam"', "[a](docs/guide.md#the-bus)", "traps 1 to 4",
        "guarantee G3", "ICCCM section 2.7",
    ],
)  # fmt: skip
def test_what_leads_somewhere_is_let_through(text: str) -> None:
    found = list(references(Text("README.md", 1, text)))
    assert all(known for _, known in found), found


def test_references_are_found_in_comments_and_docstrings() -> None:
    source = '"""See\n    A.md."""\n# First\n# B.md\nx = 1  # C.md\ny = "D.md"\n'
    assert sorted(text.text for text in python_texts("x.py", source)) == ["First B.md C.md", "See A.md."]


def test_the_table_of_folders_has_every_folder_with_its_layer() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d*) *\| `([\w/]+)` \|", page, re.MULTILINE)
    wanted = [(str(number), f"nssh/{name}") for number, layer in enumerate(LAYERS, 1) for name in layer]
    assert rows == [*wanted, ("", "actors"), ("", "actors/supervision")]
