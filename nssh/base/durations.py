"""Reads durations as people write them (`500ms`, `168h`, `1h30m`), and writes them for the event log."""

from __future__ import annotations

_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
_LONGEST = 100 * 365 * 86400
_EXAMPLES = "write it like 500ms, 30s, 10m, 168h, 30d or 1h30m"


def parse_duration(text: str) -> float:
    """Return a duration in seconds.

    Args:
        text: Numbers with the units w, d, h, m, s and ms, each at most once, from large to small; or `0`.

    Raises:
        ValueError: The text is malformed, or means more than 100 years.
    """
    if text == "0":
        return 0.0
    total, rest, units = 0.0, text, list(_UNITS)
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("wdhms"))]
        rest = rest[len(unit) :]
        if unit not in units or not _is_number(number):
            break
        total += float(number) * _UNITS[unit]
        units = units[units.index(unit) + 1 :]
    else:
        if text and total <= _LONGEST:
            return total
    if total > _LONGEST:
        raise ValueError(f"{text[:40]!r} is longer than 100 years; {_EXAMPLES}")
    raise ValueError(f"{text[:40]!r} is not a duration; {_EXAMPLES}")


def _is_number(text: str) -> bool:
    whole, dot, fraction = text.partition(".")
    return len(text) <= 16 and whole.isdecimal() and (not dot or fraction.isdecimal())


def format_gap(seconds: float) -> str:
    """Format seconds as Go's `time.Duration` does: `6s`, `1m0s`, `1h2m3s`. `parse_duration` reads the result.

    The seconds are rounded. A negative gap (the clock was set back) is `0s`.

    Raises:
        ValueError, OverflowError: `seconds` is not a finite number.
    """
    rest = max(0, int(seconds + 0.5))
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
