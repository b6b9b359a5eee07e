"""Offers to install nssh on a host, between the first login and the session. For the launcher's only thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh import tui
from nssh.base.errors import NsshError
from nssh.install import infect_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.launch.foreground import Foreground
    from nssh.ssh.identity import Target
    from nssh.state.remembered_hosts import RememberedHost

_ANSWERS = {"": True, "y": True, "yes": True, "n": False, "no": False}


def offer_install(
    target: Target,
    path: str,
    foreground: Foreground,
    *,
    tick: Callable[[], float | None],
    say: Callable[[str], None],
    host: RememberedHost,
    hidden: bool,
) -> RememberedHost:
    """Ask the user whether to install nssh on a host, install it, and return what is to be remembered of the host.

    The login stays open until the user has answered.

    Args:
        target: The host.
        path: The control socket of its login.
        foreground: Asks the user.
        tick: Does what is due meanwhile, see `Foreground.wait`.
        say: Writes a line for the user.
        host: What is remembered of the host so far.
        hidden: Whether the session may hide what is written here (mosh clears the screen).

    Raises:
        InterruptedBySignal: A signal came that ends nssh.
    """

    def ask(question: str) -> str:
        connection = infect_command.hold(target, path)
        try:
            answer = foreground.ask(question, tick)
            tui.skip_enters()
            return answer
        finally:
            connection.close()

    destination = target.destination
    say(f"{destination} has no nssh yet: without it, its clipboard and browser stay unconnected.")
    question = f"Install it there now (in ~/.local, no root; undo with nssh infect --remove {destination})? [Y/n] "
    # The answer is remembered, so it must be one: the user may have typed something else for the shell.
    while (answer := ask(question).strip().lower()) not in _ANSWERS:
        pass
    if not _ANSWERS[answer]:
        say(f"not installed; nssh infect {destination} does it later")
        return host._replace(declined=True)
    try:
        host, to_do = foreground.interruptibly(lambda: infect_command.over_control(target, path))
    except NsshError as error:
        say(str(error))
        to_do = True
    if to_do and hidden:
        ask("Enter goes on to the session. ")
    return host
