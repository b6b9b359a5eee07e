"""Run a stub: the name by which it was called selects the persona."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself imports enum, 5 ms
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from nssh.remote.shim import Shim


def main(argv: list[str]) -> NoReturn:
    """Run the persona that `argv[0]` names, and end the process with its status."""
    _occupy_standard_streams()
    persona = os.path.basename(argv[0])
    if persona == "nssh-remote":
        status = _nssh_remote(argv[1:])
    else:
        # As with the real tools, Ctrl-C ends the process at once, and with it any transfer.
        if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
            _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        try:
            status = _persona(persona, argv)
        except BrokenPipeError:
            # The reader of our output has gone. The real tools die of SIGPIPE, which Python ignores.
            _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
            os.kill(os.getpid(), _signal.SIGPIPE)
            status = 141
    # Personas write with os.write, so nothing is left to flush; the interpreter's own end would take 2 ms more.
    os._exit(status)


def _occupy_standard_streams() -> None:
    """Open those of 0, 1 and 2 that are closed, so that no connection gets their numbers; using them still fails."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:  # noqa: PERF203 (three of them)
            os.open(os.devnull, os.O_RDONLY if fd else os.O_WRONLY)


def _nssh_remote(arguments: list[str]) -> int:
    if arguments[:1] == ["relay"]:
        import sys

        from nssh.relay.main import main as relay

        status = relay(arguments[1:])
        sys.stdout.flush()  # os._exit does not
        return status
    if arguments[:1] in (["copy"], ["paste"], ["status"], ["sweep"], ["infect"]):
        return _persona("nssh", ["nssh", *arguments])
    if arguments[:1] == ["port"]:
        from nssh.relay.dial_port import main as port

        return port(arguments[1:])
    if arguments in (["version"], ["--version"]):
        from nssh import __version__

        os.write(1, b"nssh %s\n" % __version__.encode())
        return 0
    os.write(2, b"usage: nssh-remote version | copy | paste | status | sweep | infect self | relay dial|serve|start\n")
    return 2


def _persona(persona: str, argv: list[str]) -> int:
    from nssh.remote.failure import Failure, ToolExit, UseRealTool
    from nssh.remote.shim import NoSession, Shim, complain

    run, failed = _find(persona)
    shim = Shim(persona)
    if run is None:
        shim.say("this is a shim of nssh under a name that it does not know")
        return failed
    try:
        try:
            return run(shim, argv[1:])
        except (UseRealTool, NoSession) as error:
            # On a desktop that is also a remote, its own clipboard is used while there is no session.
            if isinstance(error, UseRealTool) or _has_display():
                _become_real(persona, argv)
            raise
    except ToolExit as error:
        if error.out:
            os.write(1, error.out.encode())
        complain(str(error))
        return error.status
    except Failure as error:
        shim.say(str(error))
        return error.status or failed
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 (the user gets one line, not a traceback)
        shim.events.add("shim-error", err=_where(error))
        shim.say("nssh has failed (%s); please report it" % _where(error))
        return failed
    finally:
        shim.events.flush()


def _has_display() -> bool:
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return True
    import sys

    return sys.platform == "darwin"


def _find(persona: str) -> tuple[Callable[[Shim, list[str]], int] | None, int]:
    """Return a persona's function (None if unknown), and its exit status for a failure."""
    run = None
    if persona in ("xdg-open", "sensible-browser", "x-www-browser", "www-browser", "open"):
        from nssh.remote import browser

        run = browser.run
    elif persona == "xclip":
        from nssh.remote import xclip

        run = xclip.run
    elif persona == "xsel":
        from nssh.remote import xsel

        run = xsel.run
    elif persona in ("wl-copy", "wl-paste"):
        from nssh.remote import wayland

        run = wayland.copy if persona == "wl-copy" else wayland.paste
    elif persona in ("pbcopy", "pbpaste"):
        from nssh.remote import pasteboard

        run = pasteboard.copy if persona == "pbcopy" else pasteboard.paste
    elif persona == "nssh":
        from nssh.remote import nssh_command

        run = nssh_command.run
    # 4 is xdg-open's status for an action that failed.
    return run, 4 if persona == "xdg-open" else 1


def _become_real(persona: str, argv: list[str]) -> None:
    """Replace this process by the real tool, if there is one."""
    from nssh.remote import fallback

    path = fallback.find(persona)
    if path:
        fallback.run(path, argv)


def _where(error: BaseException) -> str:
    """Return the type and the place of an unexpected exception, without its text, which may hold secrets."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    return "%s in %s line %d" % (
        type(error).__name__,
        os.path.basename(trace.tb_frame.f_code.co_filename),
        trace.tb_lineno,
    )
