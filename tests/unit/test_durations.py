from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nssh.base.durations import format_gap, parse_duration

UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("168h", 604800),
        ("30d", 2592000),
        ("10m", 600),
        ("1.5h", 5400),
        ("0", 0),
        ("0s", 0),
        ("1w2d", 777600),
        ("500ms", 0.5),
        ("1.5ms", 0.0015),
        ("0ms", 0),
        ("1m500ms", 60.5),
        ("1h30m", 5400),
        ("2s7ms", 2.007),
        ("1w1d1h1m1s1ms", 694861.001),
    ],
)
def test_durations_that_people_write(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h",
        "30",
        "1x",
        "-1h",
        "1h-3m",
        "30m1h",
        "1h1h",
        "1 h",
        "1.h",
        ".5h",
        "1..5h",
        "1e3s",
        "infs",
        "nans",
        "\uff11h",
        "1H",
        "1h5",
        "-500ms",
        "1ms1s",
        "1ms1ms",
        "1sm",
        "1mss",
        "1 ms",
        "ms",
        "500",
        "1us",
        "1e3ms",
        "\u0661ms",
    ],
)
def test_refuses_what_is_no_duration_in_one_line_that_shows_the_form(text: str) -> None:
    with pytest.raises(ValueError, match=r"168h") as caught:
        parse_duration(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["36501d", "9" * 16 + "w", "9" * 400 + "s", "9" * 16 + "ms", "9" * 400 + "ms"])
def test_refuses_more_than_a_century(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|100 years"):
        parse_duration(text)


@given(st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 999), min_size=1))
def test_a_duration_is_the_sum_of_its_parts(parts: dict[str, int]) -> None:
    text = "".join(f"{parts[unit]}{unit}" for unit in UNITS if unit in parts)
    assert parse_duration(text) == pytest.approx(sum(number * UNITS[unit] for unit, number in parts.items()))


@given(st.text(alphabet="0123456789.wdhms -", max_size=12))
def test_any_text_is_a_finite_duration_or_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 <= seconds <= 100 * 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (6, "6s"),
        (3723, "1h2m3s"),
        (60, "1m0s"),
        (3600, "1h0m0s"),
        (0.4, "0s"),
        (0.5, "1s"),
        (-7, "0s"),
        (90061, "25h1m1s"),
    ],
)
def test_gaps_look_as_the_go_program_prints_them(seconds: float, text: str) -> None:
    assert format_gap(seconds) == text


@given(st.integers(0, 100 * 365 * 86400))
def test_a_printed_gap_reads_back(seconds: int) -> None:
    assert parse_duration(format_gap(seconds)) == seconds


@given(st.floats(0, 1e9))
def test_a_gap_is_rounded_to_the_nearest_second(seconds: float) -> None:
    assert abs(parse_duration(format_gap(seconds)) - seconds) <= 0.5


@pytest.mark.parametrize("seconds", [math.inf, math.nan])
def test_a_gap_is_a_number(seconds: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        format_gap(seconds)
