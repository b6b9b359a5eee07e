"""URLs that were too old to open by themselves when they arrived; the user opens them with `nssh status --open-held`."""

from __future__ import annotations

import json
import os
from typing import NamedTuple


class HeldUrl(NamedTuple):
    """A URL and when it was sent, seconds since the epoch by the server's clock."""

    url: str
    time: int


def add(path: str, held: HeldUrl) -> None:
    """Append a URL to a topic's file (0600, made so): one write.

    Raises:
        OSError: The state directory can't be written.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(held._asdict()).encode() + b"\n")
    finally:
        os.close(fd)


def read(path: str) -> list[HeldUrl]:
    """Return what is held, in the order of arrival; lines that are none (a torn last one) are passed over."""
    found: list[HeldUrl] = []
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    fields = json.loads(line)
                    found.append(HeldUrl(str(fields["url"]), int(fields["time"])))
                except (ValueError, KeyError, TypeError):
                    continue
    except FileNotFoundError:
        pass
    return found


def take(path: str) -> list[HeldUrl]:
    """Return what is held and hold it no longer; of two callers one gets it."""
    mine = f"{path}.{os.getpid()}"
    try:
        os.rename(path, mine)
    except FileNotFoundError:
        return []
    found = read(mine)
    os.unlink(mine)
    return found
