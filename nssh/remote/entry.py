"""Where every stub begins: the name it was called by decides what it is."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from nssh.remote.shim import Shim


def main(argv: list[str]) -> NoReturn:
    """Run the persona that `argv[0]` names, and end the process with its status."""
    persona = os.path.basename(argv[0])
    try:
        status = _nssh_remote(argv[1:]) if persona == "nssh-remote" else _persona(persona, argv)
    except KeyboardInterrupt:
        status = 130
    # Everything of a persona was written with os.write; the interpreter's own end would take 2 ms more.
    os._exit(status)


def _nssh_remote(arguments: list[str]) -> int:
    if arguments[:1] == ["relay"]:
        import sys

        from nssh.relay.main import main as relay

        status = relay(arguments[1:])
        sys.stdout.flush()  # we leave without the interpreter's own end
        return status
    if arguments[:1] == ["port"]:
        from nssh.relay.port import main as port

        return port(arguments[1:])
    if arguments in (["version"], ["--version"]):
        from nssh import __version__

        os.write(1, b"nssh %s\n" % __version__.encode())
        return 0
    os.write(2, b"usage: nssh-remote version | relay dial|serve|start\n")
    return 2


def _persona(persona: str, argv: list[str]) -> int:
    from nssh.remote.failure import Failure, NotOurs
    from nssh.remote.shim import NoSession, Shim

    run, failed, no_tool = _find(persona)
    shim = Shim(persona)
    if run is None:
        shim.say("this is a shim of nssh under a name that it does not know")
        return failed
    try:
        try:
            return run(shim, argv[1:])
        except (NotOurs, NoSession) as error:
            # On a desktop that is also a remote, the own clipboard serves while no laptop is there.
            if isinstance(error, NotOurs) or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
                _become_real(persona, argv)
            raise
    except NotOurs as error:
        shim.say(str(error))
        return no_tool
    except Failure as error:
        shim.say(str(error))
        return error.status or failed
    except Exception as error:  # noqa: BLE001 (whatever it is, the user gets one line)
        shim.events.add("shim-error", err=_where(error))
        shim.say("nssh has failed (%s); please report it" % _where(error))
        return failed
    finally:
        shim.events.flush()


def _find(persona: str) -> tuple[Callable[[Shim, list[str]], int] | None, int, int]:
    """Return a persona's code, and its status for a failure and for a missing real tool."""
    if persona in ("xdg-open", "sensible-browser"):
        from nssh.remote import browser

        return (
            browser.run,
            browser.FAILED if persona == "xdg-open" else 1,
            browser.NO_TOOL if persona == "xdg-open" else 1,
        )
    if persona == "xclip":
        from nssh.remote import xclip

        return xclip.run, xclip.FAILED, xclip.FAILED
    if persona in ("wl-copy", "wl-paste"):
        from nssh.remote import wayland

        return wayland.copy if persona == "wl-copy" else wayland.paste, wayland.FAILED, wayland.FAILED
    return None, 1, 1


def _become_real(persona: str, argv: list[str]) -> None:
    """Become the real tool, if there is one."""
    from nssh.remote import fallback

    path = fallback.find(persona)
    if path:
        fallback.run(path, argv)


def _where(error: BaseException) -> str:
    """Name an unforeseen exception by type and place; its text may hold what must not be shown."""
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
