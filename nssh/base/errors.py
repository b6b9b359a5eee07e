"""The errors that a user can cause or meet: each is one line that says what was wrong, where, and what to do next."""


class NsshError(Exception):
    """An error for the user; its text is the whole message, on one line, without secrets.

    `cli.main` prints `nssh: <text>` and exits with `exit_code`; nothing else turns an exception into a status.
    """

    exit_code = 1


class UsageError(NsshError):
    """Wrong arguments, or a choice that can't be made without a terminal."""

    exit_code = 2


class ArgumentError(UsageError):
    """Arguments that make no sense; `cli.main` names the help that tells which do."""


class Cancelled(NsshError):  # noqa: N818 - it is the answer, not an error
    """The user was asked, and wants none of it: nothing was done."""

    exit_code = 130

    def __init__(self, text: str = "cancelled") -> None:
        super().__init__(text)


class ConfigError(NsshError):
    """`config.toml` can't be used; the text names file, line, key and, for a typing slip, the nearest known key."""


class ConnectError(NsshError):
    """The remote can't be reached or refused us; carries ssh's own reason.

    `kind` is one of `unreachable`, `refused`, `resolve`, `hostkey`, `auth`, `timeout`, `closed`.
    """

    def __init__(self, text: str, kind: str = "unreachable") -> None:
        super().__init__(text)
        self.kind = kind


class RemoteError(NsshError):
    """A command on the remote failed (no python3, disk full, …)."""


class BusError(NsshError):
    """The bus refused or can't be reached.

    Attributes:
        kind: `unreachable`, `auth` (401, 403), `size` (413), `limit` (429), `gone` (a file that the server does
            not have any more), `request` (other 4xx), `server` (5xx or nonsense).
        retry_after: Seconds the server asked us to wait, or None.
    """

    def __init__(self, text: str, kind: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.kind = kind
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later without anybody changing anything."""
        return self.kind in {"unreachable", "limit", "server"}


class ToolError(NsshError):
    """A local program (clipboard, browser) is missing, failed or hung."""
