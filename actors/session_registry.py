"""This session's record, its peers, and the lease of the topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.messages import LeaseChanged, LeaseFreed, Log, Problem, Report, Retry, Told, Update
from actors.supervision import BaseActor
from nssh.base import process
from nssh.state import session_records

if TYPE_CHECKING:
    from actors.supervision import Context
    from nssh.state.lease_waiter import AwaitedLease
    from nssh.state.session_records import Record

# Seconds between two looks at a session that acts and knows no lease, the Go program's.
_LEASE_INTERVAL = 0.9
# Seconds until a record that could not be written, or be removed, is tried again: a disk that is full may stay so.
_AGAIN = 5.0

# Who knows something that the record tells.
_SOURCES = ("remote_host", "liveness_responder", "oauth_proxy", "url_opener", "subscriber")


class SessionRegistry(BaseActor):
    """Keeps the record on disk as the truth about this session, and tells the subscriber whether the session acts."""

    def __init__(
        self, context: Context, record: Record, lease: AwaitedLease, *, joined: int = 0, behind: str = ""
    ) -> None:
        """Keep the parts.

        Args:
            context: Of this life.
            record: What is known of the session.
            lease: The topic's.
            joined: PID of the session whose topic is shared.
            behind: Birth of that process if it knows no lease: while it lives, it acts, and we stand by.
        """
        super().__init__(context)
        self._record = record
        self._written: Record | None = None
        self._lease = lease
        self._joined = joined
        self._behind = behind
        self._problems = {"remote": record.problem} if record.problem else {}
        self._will_retry = False

    def started(self) -> None:
        """Write the record, try to get the lease, and ask for what a life before this one was told."""
        self._look_at_lease(first=True)
        for source in _SOURCES:
            self.send(source, Report(self.context.id))

    def handle(self, message: Update | Problem | Told | Report | LeaseFreed | Retry) -> None:
        """Take a change to the record; or look at the lease again."""
        match message:
            case Update(fields):
                self._change(**fields)
            case Problem(source, text):
                self._complain(source, text)
            case Told(session):
                if session.transport:
                    self._change(transport=session.transport)
                if session.prepared:
                    self._change(version=session.version)
                    self._complain("remote", session.problem)
            case Report(to):
                self.send(to, LeaseChanged(self._lease.held))
            case LeaseFreed():
                self._look_at_lease()
            case Retry():
                self._will_retry = False
                self._survey()
                self._change()

    def _complain(self, source: str, text: str) -> None:
        """Show the newest of the problems that still are."""
        self._problems.pop(source, None)
        if text:
            self._problems[source] = text
        self._change(problem=next(reversed(self._problems.values()), ""))

    def _survey(self) -> None:
        """Have stale records removed, and tell of what lies among them and is none."""
        try:
            ignored = session_records.survey()[1]
        except OSError as error:
            self._failed(error)
            return
        for name, reason in ignored:
            self.send("log_writer", Log("record-ignored", {"file": name, "err": reason}))

    def _look_at_lease(self, *, first: bool = False) -> None:
        held = self._may_lead()
        role = "leader" if held else "standby"
        if first or role != self._record.role:
            self.send("log_writer", Log(role, {"joined": 0 if held else self._joined}))
            for to in ("oauth_proxy", "subscriber"):
                self.send(to, LeaseChanged(held))
            self._survey()
            if not first and held:
                # Who led before may have left its record, and may be dying still: its lease is free before its PID is.
                self._try_again()
        self._change(role=role)
        if not held:
            self._stand_by()

    def _may_lead(self) -> bool:
        return not self._is_behind() and self._lease.acquire()

    def _is_behind(self) -> bool:
        return process.is_same(self._joined, self._behind)

    def _stand_by(self) -> None:
        """Look at the lease again once it is ours, or whoever keeps us from wanting it has gone."""
        if self._is_behind():
            self.watch(_LEASE_INTERVAL, lambda: None if self._is_behind() else LeaseFreed())
        else:
            self._lease.wait(lambda: self.post(LeaseFreed()))

    def _change(self, **fields: object) -> None:
        self._record = self._record._replace(**fields)  # type: ignore[arg-type]  # senders name fields of Record
        # An abandoned life that comes back must not write what was true then over what its successor wrote.
        if self._record != self._written and not self.context.abandoned:
            try:
                session_records.write(self._record)
                self._written = self._record
            except OSError as error:
                self._failed(error)
                self._try_again()

    def _try_again(self) -> None:
        if not self._will_retry:
            self._will_retry = True
            self.after(_AGAIN, Retry())

    def _failed(self, error: OSError) -> None:
        self.send("log_writer", Log("record-failed", {"err": error.strerror or type(error).__name__}))
