"""Keeps this session's record on disk, and takes the topic's lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.messages import LeaseChanged, LeaseFreed, Log, Problem, ReportState, Retry, SessionChanged, UpdateRecord
from actors.supervision import BaseActor
from nssh.base import process
from nssh.state import session_records

if TYPE_CHECKING:
    from actors.supervision import Context
    from nssh.state.lease_waiter import AwaitedLease
    from nssh.state.session_records import Record

# Seconds until a record that could not be written or removed is tried again: the disk may be full.
_AGAIN = 5.0

# The actors that report something for the record.
_SOURCES = ("remote_host", "liveness_responder", "oauth_proxy", "url_opener", "subscriber")


class SessionRegistry(BaseActor):
    """Keeps the session's record up to date, and tells the actors whether this session holds the topic's lease."""

    def __init__(
        self, context: Context, record: Record, lease: AwaitedLease, *, joined: int = 0, behind: str = ""
    ) -> None:
        """Keep the parts.

        Args:
            context: See `BaseActor`.
            record: The record to begin with.
            lease: The topic's lease.
            joined: PID of the session whose topic this one shares; 0 if there is none.
            behind: Birth of that process if it is the Go program, which knows no lease; this session stands by while
                that process lives. Otherwise empty.
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
        """Write the record, try to take the lease, and have the actors report again what the record shows."""
        self._look_at_lease(first=True)
        for source in _SOURCES:
            self.send(source, ReportState(self.context.id))

    def handle(self, message: UpdateRecord | Problem | SessionChanged | ReportState | LeaseFreed | Retry) -> None:
        """Change the record, or look at the lease again."""
        match message:
            case UpdateRecord(fields):
                self._change(**fields)
            case Problem(source, text):
                self._set_problem(source, text)
            case SessionChanged(session):
                if session.transport:
                    self._change(transport=session.transport)
                if session.prepared:
                    self._change(version=session.version)
                    self._set_problem("remote", session.problem)
            case ReportState(to):
                self.send(to, LeaseChanged(self._lease.held))
            case LeaseFreed():
                self._look_at_lease()
            case Retry():
                self._will_retry = False
                self._remove_stale()
                self._change()

    def _set_problem(self, source: str, text: str) -> None:
        """Replace the problem of `source`; the record shows the newest of all present problems."""
        self._problems.pop(source, None)
        if text:
            self._problems[source] = text
        self._change(problem=next(reversed(self._problems.values()), ""))

    def _remove_stale(self) -> None:
        """Remove the records of dead sessions, and log the files among them that are no valid records."""
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
        changed = first or role != self._record.role
        # First of all: a reader that finds this session's launcher dead must see that its bridge still delivers.
        self._change(role=role)
        if changed:
            self.send("log_writer", Log(role, {"joined": 0 if held else self._joined}))
            for to in ("remote_host", "oauth_proxy", "subscriber"):
                self.send(to, LeaseChanged(held))
            self._remove_stale()
            if not first and held:
                # The leader before may have left its record, and may still be ending: its lease is free before its PID.
                self._try_again()
        if not held:
            self._stand_by()

    def _may_lead(self) -> bool:
        return not self._is_behind() and self._lease.acquire()

    def _is_behind(self) -> bool:
        return process.is_same(self._joined, self._behind)

    def _stand_by(self) -> None:
        """Wait, without blocking, for the lease, or for the end of the Go program; then look at the lease again."""
        if self._is_behind():
            end = process.End(self._joined, self._behind)
            self.spawn_reader(lambda: end.wait() and self.post(LeaseFreed()), "joined session", close=end.close)
        else:
            self._lease.wait(lambda: self.post(LeaseFreed()))

    def _change(self, **fields: object) -> None:
        self._record = self._record._replace(**fields)  # type: ignore[arg-type]  # senders name fields of Record
        # An abandoned incarnation that goes on must not overwrite what the next one wrote.
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
