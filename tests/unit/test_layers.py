"""Who imports whom, by folder (docs/architecture.md), and what the way to ssh may import."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from nssh.remote import library

ROOT = Path(__file__).resolve().parents[2]
# The folders of nssh, from the bottom to the top: each may import those before it, none of its own group or behind.
LAYERS = (
    ("base", "wire"),
    ("relay", "mosh"),
    ("remote",),
    ("ssh",),
    ("state",),
    ("config",),
    ("bus", "local", "log", "tui"),
    ("install", "meeting"),
    ("launch",),
    ("doctor", "sweep"),
    ("cli",),
)
# What is shipped to the remote, and all that it may import beside `PARTS`.
SHIPPED = {
    "wire": {"wire"},
    "relay": {"relay", "wire"},
    "mosh": {"mosh"},
    "remote": {"remote", "relay", "mosh", "wire"},
}
# Modules of other folders that are shipped, too; they import nothing of ours.
PARTS = {f"nssh.{path.removesuffix('.py').replace('/', '.')}" for path in library.PARTS if "__init__" not in path}
HEAVY = {
    "paramiko", "requests", "psutil", "prompt_toolkit", "pykka", "cryptography", "subprocess", "dataclasses", "pathlib",
    "argparse", "tomllib", "asyncio", "logging", "urllib", "http", "ssl", "email", "concurrent", "multiprocessing",
    "inspect", "shlex", "tempfile", "shutil", "random", "difflib", "unittest", "importlib.metadata",
}  # fmt: skip


def modules(package: str) -> dict[str, Path]:
    found = {}
    for path in (ROOT / package).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path
    return found


ALL = modules("nssh") | modules("actors")


@cache
def imports(module: str, *, at_start: bool) -> frozenset[str]:
    """Return our own modules that a module imports: all, or only those imported with it, at run time."""
    path = ALL[module]
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and at_start and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                visit(other)
            return
        if at_start and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                found.add(submodule if submodule in ALL else base)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return frozenset(name for name in found if name in ALL)


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def folder(module: str) -> str:
    """Return the folder of a module below its package; empty for what lies loose in it."""
    parts = ALL[module].relative_to(ROOT).parts
    return parts[1] if len(parts) > 2 else ""


def test_there_is_something_to_look_at() -> None:
    assert len(ALL) > 60
    assert "nssh.launch.foreground" in imports("nssh.launch.launcher", at_start=True)
    assert "nssh.install.infect_command" in imports("nssh.cli.main", at_start=False) - imports(
        "nssh.cli.main", at_start=True
    )
    assert "nssh.wire.files" in imports("nssh.state.topics", at_start=True)


def test_every_folder_has_its_layer() -> None:
    folders = {path.parent.name for path in (ROOT / "nssh").glob("*/__init__.py")}
    assert folders == {name for layer in LAYERS for name in layer}
    assert {path.name for path in (ROOT / "nssh").glob("*.py")} == {"__init__.py", "__main__.py"}


def test_imports_point_to_lower_layers_only() -> None:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    wrong = []
    for module in sorted(modules("nssh")):
        here = folder(module)
        for name in sorted(imports(module, at_start=False)):
            if inside(name, "actors.supervision") and here not in SHIPPED:
                continue  # a library that knows nothing of nssh
            if inside(name, "actors"):
                wrong.append(f"{module} imports {name}: nssh knows nothing of actors but how they are supervised")
            elif here and (there := folder(name)) and there != here and level[there] >= level[here]:
                wrong.append(f"{module} imports {name}: {there} is not below {here}")
            elif here and name != "nssh" and not folder(name):
                wrong.append(f"{module} imports {name}: no layer knows who starts the program")
    assert not wrong, "\n".join(wrong)


def test_what_is_shipped_knows_only_what_is_shipped() -> None:
    wrong = [
        f"{module} imports {name}"
        for module in sorted(modules("nssh"))
        if folder(module) in SHIPPED
        for name in sorted(imports(module, at_start=False))
        # The package itself holds the version, and is shipped, too.
        if name not in {"nssh", *PARTS} and folder(name) not in SHIPPED[folder(module)]
    ]
    assert not wrong, "\n".join(wrong)
    assert set(library.PACKAGES) == set(SHIPPED)
    assert not {part: found for part in PARTS if (found := imports(part, at_start=False))}


def test_supervision_is_a_library_of_its_own() -> None:
    wrong = [
        f"{module} imports {name}"
        for module in sorted(modules("actors"))
        if folder(module) == "supervision"
        for name in sorted(imports(module, at_start=False))
        if not inside(name, "actors.supervision")
    ]
    assert not wrong, "\n".join(wrong)


def test_the_shipped_root_imports_nothing() -> None:
    assert imports("nssh", at_start=False) == frozenset()
    tree = ast.parse(ALL["nssh"].read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_no_module_imports_itself_through_others() -> None:
    """Imports that run with the module; one in a function is how a circle is cut."""
    done: set[str] = set()

    def follow(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a circle: {' → '.join([*path[path.index(module) :], module])}"
        if module in done:
            return
        for name in sorted(imports(module, at_start=True)):
            follow(name, (*path, module))
        done.add(module)

    for module in sorted(ALL):
        follow(module, ())
    assert len(done) == len(ALL)


# What the way to ssh imports, in fact.


def imported(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has after running some code, without what its start alone brings."""
    environ = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}

    def loaded(code: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-P", "-c", f"{code}\nimport sys; print(*sys.modules)"],
            env=environ, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return set(done.stdout.split())

    return loaded(code) - loaded("pass")


def heavy(names: set[str]) -> set[str]:
    return {name for name in names if any(inside(name, one) for one in HEAVY)}


def foreign(names: set[str]) -> set[str]:
    """Return what is neither the standard library's nor ours."""
    return {
        name for name in names if name.partition(".")[0] not in sys.stdlib_module_names and not inside(name, "nssh")
    }


def test_the_launcher_imports_nothing_heavy() -> None:
    found = imported("import nssh.cli.main, nssh.launch.launcher")
    assert "nssh.launch.launcher" in found
    assert heavy(found) == set()
    assert foreign(found) - {"__main__"} == set()


SITE = """\
import atexit, os, posix, sys
spawn = os.posix_spawnp
def watched(path, argv, *rest, **options):
    with open(os.environ["NSSH_TEST_RECORD"], "a") as file:
        print(" ".join(argv[:2]), "|", *sys.modules, file=file)
    return spawn(path, argv, *rest, **options)
os.posix_spawnp = watched
"""


FAKE_SSH = """\
#!/bin/sh
case "$*" in
    *-G*) echo "user somebody"; echo "hostname devbox"; echo "port 22" ;;
    *) exit 255 ;;
esac
"""


@pytest.mark.parametrize("words", [["--ssh", "devbox"], ["devbox", "true"], ["devbox"]])
@pytest.mark.parametrize("configured", [False, True])
def test_until_ssh_runs_only_the_standard_library_is_imported(
    tmp_path: Path, words: list[str], *, configured: bool
) -> None:
    """The real program, with an ssh that only answers -G; each start of a program records what is loaded then."""
    fake = tmp_path / "ssh"
    fake.write_text(FAKE_SSH)
    fake.chmod(0o755)
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    record = tmp_path / "record"
    home = tmp_path / "home"
    home.mkdir()
    if configured:
        (home / ".config/nssh").mkdir(parents=True)
        (home / ".config/nssh/config.toml").write_text('[mosh]\nnetwork_timeout = "1h"\n')
        (home / ".config/nssh/config.toml").chmod(0o600)
    environ = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": os.fspath(home),
        "PYTHONPATH": f"{site}:{ROOT}",
        "NSSH_TEST_RECORD": os.fspath(record),
        "NSSH_SSH": os.fspath(fake),
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "nssh", *words],
        env=environ,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.stderr == b""
    assert done.returncode == 255
    lines = [line.split(" | ") for line in record.read_text().splitlines()]
    starts = [(command, set(names.split())) for command, names in lines if command.startswith(os.fspath(fake))]
    assert len(starts) >= 2, "ssh -G and the session"
    without = _at_interpreter_start(environ)
    for _, names in starts:
        new = names - without
        unwanted = heavy(new) - ({"tomllib"} if configured else set())
        # tomllib itself brings a few, where there is a file to read.
        assert {name for name in unwanted if not inside(name, "tomllib")} == set()
        assert foreign(new) == set()


def _at_interpreter_start(environ: dict[str, str]) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import atexit, sys; print(*sys.modules)"],
        env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


def test_the_demo_needs_only_what_nssh_needs() -> None:
    code = "import sys; sys.modules.update(dict.fromkeys(('pytest', 'hypothesis', 'pyte'))); import tests.lab.demo"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
