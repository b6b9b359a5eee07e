"""The offer to install the remote side, between the first login to a host and its session; the launcher's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nssh.base.errors import NsshError
from nssh.install import infect_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from nssh.launch.foreground import Foreground
    from nssh.ssh.identity import Target
    from nssh.state.remembered_hosts import RememberedHost

_ANSWERS = {"": True, "y": True, "yes": True, "n": False, "no": False}


class Offer:
    """Asks the user, whose login stays open for as long as it takes."""

    def __init__(
        self,
        target: Target,
        path: str,
        foreground: Foreground,
        tick: Callable[[], float | None],
        say: Callable[[str], None],
    ) -> None:
        """Keep the parts.

        Args:
            target: The host.
            path: The control socket of its login.
            foreground: Asks.
            tick: Does what is due meanwhile, see `Foreground.wait`.
            say: Writes a line for the user.
        """
        self._target = target
        self._path = path
        self._foreground = foreground
        self._tick = tick
        self._say = say

    def make(self, host: RememberedHost, *, hidden: bool) -> RememberedHost:
        """Ask whether to install, do it, and return what is to be remembered of the host.

        Args:
            host: What is known of it.
            hidden: Whether the session may take what is said here from the screen.

        Raises:
            InterruptedBySignal: A signal came that ends us.
        """
        destination = self._target.destination
        self._say(f"{destination} has no nssh yet: without it, its clipboard and browser stay unconnected.")
        question = f"Install it there now (in ~/.local, no root; undo with nssh infect --remove {destination})? [Y/n] "
        # The answer is remembered: what was typed for a shell, too early, is none.
        while (answer := self._ask(question).strip().lower()) not in _ANSWERS:
            pass
        if not _ANSWERS[answer]:
            self._say(f"not installed; nssh infect {destination} does it later")
            return host._replace(declined=True)
        try:
            host, to_do = self._foreground.interruptibly(lambda: infect_command.over_control(self._target, self._path))
        except NsshError as error:
            self._say(str(error))
            to_do = True
        if to_do and hidden:
            self._ask("Enter goes on to the session. ")
        return host

    def _ask(self, question: str) -> str:
        connection = infect_command.hold(self._target, self._path)
        try:
            return self._foreground.ask(question, self._tick)
        finally:
            connection.close()
