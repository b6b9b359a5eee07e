"""`nssh infect self` on a remote: repair this account's installation from its own library, or remove it."""

from __future__ import annotations

import os

from nssh import __version__
from nssh.remote import command_options, install, library
from nssh.remote.failure import Failure, UseRealTool
from nssh.remote.shim import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nssh.remote.shim import Shim

_OPTIONS = {"force": "", "remove": "", "help": "h"}


def run(shim: Shim, arguments: list[str]) -> int:
    """Run `nssh infect [--force|--remove] self`, and return 0. Raises Failure; UseRealTool for another host."""
    options = command_options.read("infect", arguments, _OPTIONS)
    if options.words != ["self"]:
        raise UseRealTool("nssh: other hosts are infected from your own machine; here it is: nssh infect self\n", 2)
    if "force" in options and "remove" in options:
        raise command_options.wrong("infect", "nssh infect takes one of --force and --remove")
    request: dict[str, object] = {"action": "remove"}
    if "remove" not in options:
        request = _request(force="force" in options)
    said = {"error": "", "changed": "0"}

    def say(key: str, text: str) -> None:
        if key == "warning":
            shim.say("self: " + text)
        said[key] = text

    if install.run(request, say):
        raise Failure("this machine: " + said["error"])
    write_all(b"nssh: self: %s\n" % _outcome(removed="remove" in options, changed=said["changed"] == "1").encode())
    return 0


def _request(*, force: bool) -> dict[str, object]:
    """Return what the installer needs, from the library that this code was imported from. Raises Failure."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    lib = os.path.dirname(root)
    try:
        files = library.read(root)
    except (OSError, UnicodeDecodeError):
        files = {}
    digest = library.digest(files)
    # Its directory is named for what the laptop has sent. Anything else must not get that name.
    if os.path.basename(lib) != "lib-%s-%s" % (__version__, digest):
        raise Failure("%s is damaged: run nssh infect <this host> on your own machine" % lib)
    return {"action": "install", "force": force, "version": __version__, "digest": digest, "files": files}


def _outcome(*, removed: bool, changed: bool) -> str:
    if removed:
        return "removed" if changed else "nothing to remove"
    return "%s nssh %s" % ("installed" if changed else "already has", __version__)
