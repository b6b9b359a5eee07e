"""Defines the errors that a user can cause or meet. The text of each says what is wrong, where, and what to do."""


class NsshError(Exception):
    """An error for the user. Its text is the whole message, on one line, without secrets.

    `nssh.cli.main` prints `nssh: <text>` and exits with `exit_code`.
    """

    exit_code = 1


class UsageError(NsshError):
    """Wrong arguments, or a choice that can't be made without a terminal."""

    exit_code = 2


class ArgumentError(UsageError):
    """Wrong arguments. `nssh.cli.main` adds which help describes the right ones."""


class Cancelled(NsshError):  # noqa: N818 - an answer of the user, not an error
    """The user cancelled a question; nothing was done."""

    exit_code = 130

    def __init__(self, text: str = "cancelled") -> None:
        super().__init__(text)


class ConfigError(NsshError):
    """`config.toml` can't be used. The text tells file, line, key and, for an unknown key, the nearest known one."""


class ConnectError(NsshError):
    """The remote can't be reached, or refused the login. The text has ssh's own reason.

    Attributes:
        kind: `unreachable`, `refused`, `resolve`, `hostkey`, `auth`, `timeout` or `closed`.
    """

    def __init__(self, text: str, kind: str = "unreachable") -> None:
        super().__init__(text)
        self.kind = kind


class RemoteError(NsshError):
    """A command on the remote failed (no python3, disk full, …)."""


class BusError(NsshError):
    """The bus can't be reached, or its server refused a request.

    Attributes:
        kind: `unreachable`, `auth` (401, 403), `size` (413), `limit` (429), `gone` (a file that the server does
            not have any more), `request` (other 4xx) or `server` (5xx, or an answer that is not HTTP).
        retry_after: The seconds that the server wants us to wait; None if it does not say.
    """

    def __init__(self, text: str, kind: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.kind = kind
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later, without a change of the configuration."""
        return self.kind in {"unreachable", "limit", "server"}


class ToolError(NsshError):
    """A local program (for the clipboard or the browser) is missing, failed or hung."""
