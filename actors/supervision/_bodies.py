"""Make the body of an incarnation, an actor, a process or a tree, from the child's specification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka

from actors.supervision._actor_body import ActorBody
from actors.supervision._process import Program
from actors.supervision._process_body import ProcessBody

if TYPE_CHECKING:
    from actors.supervision._context import Context
    from actors.supervision._incarnation import Body
    from actors.supervision._spec import ChildSpec


def make_body(spec: ChildSpec, context: Context) -> Body:
    """Return a process for a `Program`, otherwise call `start` and wrap the actor or supervisor that it returns.

    Runs on the incarnation's thread.

    Raises:
        TypeError: `start` returned something else.
    """
    start: Any = spec.start
    made: Any = None if isinstance(start, Program) else start(context)
    if isinstance(made, pykka.Actor):
        return ActorBody(made, context.incarnation, context.directory)
    body: Body
    if isinstance(start, Program):
        body = ProcessBody(spec, context.clock)
    elif hasattr(made, "as_child"):
        body = made.as_child(context)
    else:
        raise TypeError(f"{spec.id}: start must make an actor, without starting it, or a supervisor, not {made!r}")
    context.directory.mute(spec.id)
    return body
