"""The library stands alone: what it imports, what it uses of pykka's private parts, and that nothing else is needed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pykka
import pytest

import actors.supervision

LIBRARY = Path(actors.supervision.__file__).parent
ROOT = LIBRARY.parents[1]
HERE = Path(__file__).parent

# The parts of pykka that it does not promise to keep. A new version is taken up once this test agrees.
PRIVATE = {
    "_ActorStop": "the message that asks an actor to stop",
    "_actor": "a proxy's actor, which a proxy of ours does not keep",
    "_actor_weakref": "where a proxy looks for the names of attributes",
    "_attr_path": "what a proxy is to",
    "_create_actor_inbox": "where BaseActor has a faster mailbox made",
    "_envelope": "the module of Envelope, in which a ref delivers",
    "_get_hook": "what a future is computed by, if it is",
    "_handle_receive": "handles a message, those of proxies included",
    "_known_attrs": "what a proxy has found",
    "_start_actor_loop": "where BaseActor says that it is not started by hand",
    "_types": "the module of the type of attribute paths",
}


@cache
def parsed(folder: Path) -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py"))}


def imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def names(tree: ast.AST) -> set[str]:
    """Return what begins with one underscore and is defined, assigned, imported or looked up."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("actors"):
            found |= {part for name in [node.module or "", *(a.name for a in node.names)] for part in name.split(".")}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return {name for name in found if re.match(r"_[^_]", name)}


def own(tree: ast.Module) -> set[str]:
    """Return the names that classes of ours, which inherit nothing of pykka's, give to their attributes and methods."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and "pykka" not in ast.unparse(node).partition("\n")[0]:
            for part in ast.walk(node):
                if isinstance(part, ast.FunctionDef):
                    found.add(part.name)
                elif isinstance(part, ast.Attribute) and ast.unparse(part.value) == "self":
                    found.add(part.attr)
    return found


def test_the_library_imports_itself_pykka_and_the_standard_library() -> None:
    allowed = {"actors", "pykka", *sys.stdlib_module_names}
    wrong = [
        f"{path.name} imports {name}"
        for path, tree in parsed(LIBRARY).items()
        for name in imported(tree)
        if name.partition(".")[0] not in allowed or (name.startswith("actors") and "actors.supervision" not in name)
    ]
    assert not wrong, "\n".join(wrong)


def test_its_tests_know_nothing_but_the_library() -> None:
    allowed = {"actors", "tests", "pykka", "pytest", "hypothesis", *sys.stdlib_module_names}
    wrong = [
        f"{path.name} imports {name}"
        for path, tree in parsed(HERE).items()
        for name in imported(tree)
        if name.partition(".")[0] not in allowed
        or (name.startswith(("actors", "tests")) and not name.startswith(("actors.supervision", "tests.supervision")))
    ]
    assert not wrong, "\n".join(wrong)


def test_all_others_use_its_public_names() -> None:
    """The library's own tests look inside; those of its users need not."""
    wrong = []
    for folder in ("actors", "nssh"):
        for path, tree in parsed(ROOT / folder).items():
            if LIBRARY not in path.parents:
                wrong += [f"{path} imports {name}" for name in imported(tree) if "supervision._" in name]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", actors.supervision.__all__)
def test_what_is_public_is_there(name: str) -> None:
    assert getattr(actors.supervision, name).__name__ == name
    assert name in dir(actors.supervision)


def test_what_is_not_is_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = actors.supervision.Nothing


def test_a_process_is_kept_without_pykka() -> None:
    code = (
        "import sys; from actors.supervision import Backoff, ChildSpec, ProcessSupervisor, Program, Restart\n"
        "print(*({'pykka', 'dataclasses', 'logging', 'inspect'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_the_private_parts_of_pykka_are_known_and_there() -> None:
    theirs: set[str] = set()
    for path, tree in parsed(Path(pykka.__file__).parent).items():
        theirs |= names(tree) | {path.stem}
    used: set[str] = set()
    for tree in parsed(LIBRARY).values():
        if any(name.partition(".")[0] == "pykka" for name in imported(tree)):
            used |= (names(tree) & theirs) - own(tree)
    assert used == set(PRIVATE)
    missing = set(PRIVATE) - theirs
    assert not missing, f"pykka has no more {missing}"


def test_the_version_of_pykka_is_bound_on_both_sides() -> None:
    project = ROOT / "pyproject.toml"
    if not project.exists():
        pytest.skip("the library is alone here")
    assert re.search(r'"pykka>=4\.5,<4\.6"', project.read_text())


def test_the_example_crashes_and_recovers(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", (LIBRARY / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 25
    exec(example, {"__name__": "example"})  # noqa: S102 - the page's own
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.isdigit()] == ["2", "3"]
    assert "TypeError" in out
    assert "'restarting'" in out


def test_every_file_is_in_the_table() -> None:
    table = (LIBRARY / "README.md").read_text()
    for path in LIBRARY.glob("*.py"):
        assert path.name == "__init__.py" or f"`{path.stem}`" in table


ALONE = """
import os, signal, sys
import pykka
from actors.supervision import AutoShutdown, ChildSpec, EventKind, Outcome, Program, Restart, Supervisor

assert not {name for name in sys.modules if name.partition(".")[0] in {"nssh", "psutil", "requests"}}

class Plain(pykka.ThreadingActor):
    def on_receive(self, message):
        if message == "crash":
            raise RuntimeError(message)
        return message

def plain(context):
    return Plain()

events = []
inner = []

def nested(context):
    inner.append(Supervisor([ChildSpec("worker", plain)], intensity=0))
    return inner[-1]

tree = Supervisor(
    [ChildSpec("plain", plain), ChildSpec("inner", nested), ChildSpec("process", Program(["sleep", "600"]))],
    on_event=events.append,
)
tree.start()
dynamic = tree.start_child(ChildSpec("dynamic", plain))

def starts(child):
    return sum(event.kind is EventKind.STARTED and event.id == child for event in events)

def await_restart(child):
    import time
    deadline = time.monotonic() + 30
    while starts(child) < 2:
        assert time.monotonic() < deadline, child
        time.sleep(0.01)

for ref in (tree.directory.ref("plain"), dynamic):
    ref.tell("crash")
    assert ref.ask("still here", timeout=30) == "still here"
inner[0].directory.send("worker", "crash")
await_restart("inner")
assert inner[1].directory.ask("worker", "still here", 30) == "still here"
pid = int(tree._children["process"].incarnation._body._process.pid)
os.kill(pid, signal.SIGKILL)
await_restart("process")
for child in ("plain", "inner", "process", "dynamic"):
    await_restart(child)
assert tree.stop() == ()
assert tree.wait() is Outcome.STOPPED
print("all back")
"""


def test_it_works_where_there_is_nothing_but_pykka(tmp_path: Path) -> None:
    """An empty virtual environment: a nested tree, a dynamic child, and a process that is killed, all back."""
    python = tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    site = next((tmp_path / "venv/lib").glob("python3*/site-packages"))
    shutil.copytree(Path(pykka.__file__).parent, site / "pykka")
    for version in Path(pykka.__file__).parents[1].glob("pykka-*.dist-info"):
        shutil.copytree(version, site / version.name)
    for folder in ("actors/supervision", "tests/supervision"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    # Without what else is in these packages.
    for package in ("actors", "tests"):
        (tmp_path / package / "__init__.py").touch()
    environ = {**os.environ, "PYTHONPATH": os.fspath(tmp_path)}
    done = subprocess.run(
        [python, "-P", "-c", ALONE], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "all back\n"), done.stderr
    listed = subprocess.run(
        [python, "-P", "-c", "from importlib.metadata import distributions as d; print(*(i.name for i in d()))"],
        cwd=tmp_path, env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert listed.stdout.split() == ["pykka"]
