"""Going from step to step: each knows on which others it depends, and is not tried if one of those went wrong."""

from __future__ import annotations

import contextlib
import os
import shlex
from typing import TYPE_CHECKING, NamedTuple

from nssh.base.errors import NsshError
from nssh.config.settings import Config
from nssh.doctor.report import Found, Outcome, Result, failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nssh.bus.client import BusClient
    from nssh.doctor.doctor_options import DoctorOptions
    from nssh.doctor.remote_facts import RemoteFacts
    from nssh.doctor.remote_helper import RemoteHelper
    from nssh.doctor.topic_listener import TopicListener
    from nssh.ssh.connection import Connection
    from nssh.ssh.identity import Target
    from nssh.state.records import Record


class Examination:
    """What the steps have found so far, for those behind them; what a step has not set, nobody needs before it."""

    target: Target
    connection: Connection
    helper: RemoteHelper
    facts: RemoteFacts
    client: BusClient
    listener: TopicListener

    def __init__(self, options: DoctorOptions) -> None:
        self.options = options
        self.config = Config()
        self.sessions: list[Record] = []
        """The live ones of this target."""
        self.said: dict[str, str] = {}
        """What the remote's shell said."""
        self.asked = self.answered = 0.0
        """When it was asked and had answered, seconds since the epoch."""
        self.topic = ""
        """The doctor's own."""
        self.name = f"doctor-{os.urandom(4).hex()}"
        """Of the private directory on the remote."""
        self.salt = os.urandom(8).hex()
        self.undo = contextlib.ExitStack()

    @property
    def secrets(self) -> list[str]:
        """What is never shown, whoever says it."""
        config = self.config
        topics = [record.topic for record in self.sessions]
        return [word for word in (config.token, config.password, config.topic, self.topic, *topics) if word]

    @property
    def host(self) -> str:
        """How the user calls it."""
        return self.options.host

    @property
    def words(self) -> str:
        """How it is called on a command line, with the options that lead to it."""
        return shlex.join([self.options.host, *self.options.ssh_options])


class NotTried(NsshError):  # noqa: N818 - it is no error
    """A step found that there is nothing for it to do; the text says why."""


class Step(NamedTuple):
    """One thing to look at."""

    name: str
    needs: tuple[str, ...]
    look: Callable[[Examination], Result]


def go(exam: Examination, steps: Iterable[Step]) -> Iterator[Found]:
    """Take the steps one after another; yields each as soon as it is done."""
    causes: dict[str, str] = {}  # by step that is no ground for others: the step that really went wrong
    for step in steps:
        cause = next((causes[need] for need in step.needs if need in causes), "")
        result = (
            Result(Outcome.SKIPPED, f"not tried: see {cause}") if cause else _scrub(_take(step, exam), exam.secrets)
        )
        if result.state in {Outcome.FAILED, Outcome.SKIPPED}:
            causes[step.name] = cause or step.name
        yield Found(step.name, result)


def _take(step: Step, exam: Examination) -> Result:
    try:
        return step.look(exam)
    except NotTried as reason:
        return Result(Outcome.SKIPPED, f"not tried: {reason}")
    except NsshError as error:
        return failed(str(error))
    except OSError as error:
        return failed(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
    except Exception as error:  # noqa: BLE001 - whatever it is, the steps behind it may still help
        return failed(f"the doctor itself failed here ({type(error).__name__})", "please report it")


def _scrub(result: Result, secrets: Sequence[str]) -> Result:
    """Blot out secrets: a remote knows its session's, and may say anything."""
    text, advice = result.text, result.advice
    for secret in secrets:
        text, advice = text.replace(secret, "…"), advice.replace(secret, "…")
    return result._replace(text=text, advice=advice)
