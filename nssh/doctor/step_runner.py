"""Takes the doctor's steps one after another. A step is skipped if one that it needs failed."""

from __future__ import annotations

import contextlib
import os
import shlex
from typing import TYPE_CHECKING, NamedTuple

from nssh.base.errors import NsshError
from nssh.config.settings import Config
from nssh.doctor.report import Found, Result, StepOutcome, failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nssh.bus.client import BusClient
    from nssh.doctor.doctor_options import DoctorOptions
    from nssh.doctor.remote_facts import RemoteFacts
    from nssh.doctor.remote_helper import RemoteHelper
    from nssh.doctor.topic_listener import TopicListener
    from nssh.ssh.connection import Connection
    from nssh.ssh.identity import Target
    from nssh.state.session_records import Record


class Examination:
    """One run of the doctor: its options, and what the steps have found, for the steps that need them.

    Attributes:
        config: The defaults until the configuration is read.
        sessions: The live sessions of this target.
        said: The fields of the answer of the remote's shell.
        asked: When that shell was asked, seconds since the epoch.
        answered: When it had answered.
        topic: The doctor's own topic.
        name: The name of the doctor's private directory on the remote.
        salt: For the hashes of topics that the helper reports.
        undo: Closes what the steps opened, in reverse order.
    """

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
        self.said: dict[str, str] = {}
        self.asked = self.answered = 0.0
        self.topic = ""
        self.name = f"doctor-{os.urandom(4).hex()}"
        self.salt = os.urandom(8).hex()
        self.undo = contextlib.ExitStack()

    @property
    def secrets(self) -> list[str]:
        """The texts that are never shown, even if the remote sends them."""
        config = self.config
        topics = [record.topic for record in self.sessions]
        return [word for word in (config.token, config.password, config.topic, self.topic, *topics) if word]

    @property
    def host(self) -> str:
        """The host's name on the command line."""
        return self.options.host

    @property
    def words(self) -> str:
        """The host with its ssh options, quoted for a command line."""
        return shlex.join([self.options.host, *self.options.ssh_options])


class NotTried(NsshError):  # noqa: N818 - it is no error
    """Raised by a step that can't be tried; the text says why."""


class Step(NamedTuple):
    """One check, and the names of the steps that must have succeeded before it."""

    name: str
    needs: tuple[str, ...]
    look: Callable[[Examination], Result]


def go(exam: Examination, steps: Iterable[Step]) -> Iterator[Found]:
    """Take the steps one after another; yield each result as soon as it is there."""
    causes: dict[str, str] = {}  # for each step that failed or was skipped, the step that failed
    for step in steps:
        cause = next((causes[need] for need in step.needs if need in causes), "")
        result = (
            Result(StepOutcome.SKIPPED, f"not tried: see {cause}") if cause else _scrub(_take(step, exam), exam.secrets)
        )
        if result.state in {StepOutcome.FAILED, StepOutcome.SKIPPED}:
            causes[step.name] = cause or step.name
        yield Found(step.name, result)


def _take(step: Step, exam: Examination) -> Result:
    try:
        return step.look(exam)
    except NotTried as reason:
        return Result(StepOutcome.SKIPPED, f"not tried: {reason}")
    except NsshError as error:
        return failed(str(error))
    except OSError as error:
        return failed(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
    except Exception as error:  # noqa: BLE001 - a defect of one step must not keep the user from the others
        return failed(f"the doctor itself failed here ({type(error).__name__})", "please report it")


def _scrub(result: Result, secrets: Sequence[str]) -> Result:
    """Replace secrets in a result: the remote knows them, and its text may contain them."""
    text, advice = result.text, result.advice
    for secret in secrets:
        text, advice = text.replace(secret, "…"), advice.replace(secret, "…")
    return result._replace(text=text, advice=advice)
