"""Supervision for pykka actors, and for processes, as in Erlang/OTP: see README.md beside this file.

A name is imported when it is first used. So a program that supervises only processes, as nssh's launcher does, never
imports pykka.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.supervision._actor import BaseActor
    from actors.supervision._context import Context
    from actors.supervision._events import Event, EventKind
    from actors.supervision._heartbeat import Heartbeat
    from actors.supervision._incarnation import AbandonedError, WedgedError
    from actors.supervision._mail import ActorGoneError, AskError, AskTimeoutError, UnknownActorError
    from actors.supervision._outcome import EscalatedError, Outcome, StartError
    from actors.supervision._process import Ended, Process, ProcessError, Program
    from actors.supervision._process_supervisor import ProcessSupervisor
    from actors.supervision._ref import ChildRef
    from actors.supervision._restarts import Attempts, Backoff, RestartWindow
    from actors.supervision._spec import AutoShutdown, ChildSpec, Restart, Strategy
    from actors.supervision._supervisor import Supervisor
    from actors.supervision._timers import Clock, Timer

_HOMES = {
    "_actor": ["BaseActor"],
    "_context": ["Context"],
    "_events": ["Event", "EventKind"],
    "_heartbeat": ["Heartbeat"],
    "_incarnation": ["AbandonedError", "WedgedError"],
    "_mail": ["ActorGoneError", "AskError", "AskTimeoutError", "UnknownActorError"],
    "_outcome": ["EscalatedError", "Outcome", "StartError"],
    "_process": ["Ended", "Process", "ProcessError", "Program"],
    "_process_supervisor": ["ProcessSupervisor"],
    "_ref": ["ChildRef"],
    "_restarts": ["Attempts", "Backoff", "RestartWindow"],
    "_spec": ["AutoShutdown", "ChildSpec", "Restart", "Strategy"],
    "_supervisor": ["Supervisor"],
    "_timers": ["Clock", "Timer"],
}
__all__ = [
    "AbandonedError", "ActorGoneError", "AskError", "AskTimeoutError", "Attempts", "AutoShutdown", "Backoff",
    "BaseActor", "ChildRef", "ChildSpec", "Clock", "Context", "Ended", "EscalatedError", "Event", "EventKind",
    "Heartbeat", "Outcome", "Process", "ProcessError", "ProcessSupervisor", "Program", "Restart", "RestartWindow",
    "StartError", "Strategy", "Supervisor", "Timer", "UnknownActorError", "WedgedError",
]  # fmt: skip


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            value: object = getattr(__import__(f"{__name__}.{home}", fromlist=[name]), name)
            globals()[name] = value  # later accesses do not come here
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
