"""Parse and quote JSON without `import json`, which also imports `re` and costs a shim 16 ms of its 45.

The C module behind `json` is used directly; an interpreter without it uses `json`. The results are those of
`json.loads`, but for integers of more than 20 digits, which become 0: Python before 3.11 takes quadratic time for them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["loads", "quote"]

_SPACE = " \t\n\r"


def _integer(text: str) -> int:
    return int(text) if len(text) <= 20 else 0


class _Context:
    """The attributes of a `json.JSONDecoder` that the C scanner reads."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = staticmethod(_integer)
    parse_constant = float


try:
    from _json import encode_basestring_ascii as quote
    from _json import make_scanner

    _scan: Any = make_scanner(_Context())  # type: ignore[arg-type]  # it wants only the attributes
except ImportError:
    import json
    from json.encoder import encode_basestring_ascii as quote

    _scan = vars(json.JSONDecoder(parse_int=_integer))["scan_once"]


def loads(text: str) -> Any:
    """Parse one JSON value.

    Raises:
        ValueError: The text is no JSON, or nested too deeply.
    """
    text = text.strip(_SPACE)
    try:
        value, end = _scan(text, 0)
    except (StopIteration, RecursionError, SystemError) as error:
        # SystemError: in 3.10 and 3.11 the scanner can raise its own exception only if json.decoder was imported.
        raise ValueError("not JSON") from error
    if end != len(text):
        raise ValueError("not JSON: something follows the value")
    return value
