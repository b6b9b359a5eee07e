"""Finds the mosh processes of this machine that a sweep of other hosts must know, with the sessions they belong to."""

from __future__ import annotations

from nssh.mosh import own_mosh
from nssh.state import session_records


def look() -> own_mosh.OwnMosh:
    """Look at this machine's processes and at this user's live sessions."""
    try:
        keys = {record.pid: record.key for record in session_records.live()}
    except OSError:
        keys = {}  # the state directory can't be read: the clients' servers are known by address only
    return own_mosh.look(keys)
