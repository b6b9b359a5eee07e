"""The arithmetic of the benchmark, and the page it writes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import report
from tests.bench.launch import audited, import_times
from tests.bench.rows import Row, Section, interleaved, minus, plus, quantile, table
from tests.bench.spool import plan

if TYPE_CHECKING:
    from pathlib import Path


def test_a_ratio_is_that_of_the_medians_and_a_budget_of_it_is_judged_so() -> None:
    row = Row("prompt", (0.9, 1.0, 5.0), "ms", (1.0, 2.0, 0.5), "ssh", 1.0, relative=True)
    assert row.ratio == 1.0
    assert row.met is True
    assert row._replace(budget=0.99).met is False
    assert row.cells() == ("prompt", "1000 ms", "3", "900–5000", "1000 ms ssh", "1.00 ×", "≤ 1.00 ×", "met")


def test_a_budget_in_units_is_judged_by_the_median() -> None:
    assert Row("size", (44.0, 46.0, 44.9), "MB", budget=45).met is True
    assert Row("size", (44.0, 46.0, 45.1), "MB", budget=45).met is False
    assert Row("lost", (0,), "", budget=0).met is True
    assert Row("lost", (1,), "", budget=0).cells()[-1] == "OVER"
    assert Row("rate", (99.0,), "/s", budget=100, least=True).met is False
    assert Row("rate", (99.0,), "/s").met is None


def test_without_a_yardstick_there_is_no_ratio_and_a_budget_of_it_is_not_met() -> None:
    assert Row("a", (1.0,)).ratio is None
    assert Row("a", (1.0,), "ms", (0.0,), "nothing").ratio is None
    assert Row("a", (1.0,), "ms", (), "", 1.0, relative=True).met is False


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_is_the_least_sample_that_the_share_does_not_exceed(samples: list[float], share: float) -> None:
    value = quantile(samples, share)
    assert value in samples
    assert sum(sample <= value for sample in samples) >= share * len(samples) - 1e-6
    below = [sample for sample in samples if sample < value]
    assert len(below) < math.ceil(share * len(samples))


def test_quantiles_of_known_samples() -> None:
    hundred = list(range(1, 101))
    assert [quantile(hundred, share) for share in (0.01, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    with pytest.raises(ValueError, match="no samples"):
        quantile([], 0.5)


def test_ways_are_measured_in_turn_and_the_first_turn_does_not_count() -> None:
    calls: list[str] = []
    values = iter([9.0, 9.0, 1.0, 2.0, 3.0, 4.0])

    def way(name: str) -> float:
        calls.append(name)
        return next(values)

    assert interleaved(2, {"a": lambda: way("a"), "b": lambda: way("b")}) == {"a": (1.0, 3.0), "b": (2.0, 4.0)}
    assert "".join(calls) == "ababab"


def test_differences_and_sums_are_of_medians() -> None:
    assert minus((3.0, 5.0, 1.0), (1.0, 2.0, 9.0)) == (1.0, 3.0, 0.0)
    assert plus((1.0, 2.0, 9.0), (5.0,)) == (7.0,)


def test_a_table_has_a_line_a_row_and_aligned_columns() -> None:
    head, first, second = table([Row("a", (0.001,)), Row("long name", (1.0,), "MB")]).splitlines()
    assert head.index("measured") == first.index("1 ms") == second.index("1 MB")


def test_import_times_are_those_before_ssh() -> None:
    stderr = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       500 |       1500 |   json.decoder\n"
        "import time:      1000 |       2500 | json\n"
        "bench: ssh starts\n"
        "import time:      9000 |       9000 | late\n"
    )
    assert import_times(stderr) == {"json.decoder": 0.0005, "json": 0.001}


def test_an_audit_ends_with_the_start_of_ssh() -> None:
    lines = ["open\t/a", "os.posix_spawn\tssh -G", "open\t/b", "open\t/a", "open\t/dev/null", "open\t/dev/null"]
    watched = audited("\n".join([*lines, "os.posix_spawn\tssh -o", "open\t/b", "os.posix_spawn\tpython -m"]))
    assert watched == (["/a"], 3, ["ssh -G", "ssh -o"])


@pytest.mark.parametrize("size", [1 << 20, 100 << 20, 1 << 30])
def test_a_spool_is_as_large_as_planned(size: int) -> None:
    messages, files = plan(size)
    assert 0.4 * size <= messages * 4000 + files * (60 << 20) <= size


def test_a_page_keeps_what_is_written_by_hand_and_names_no_host(tmp_path: Path) -> None:
    import platform

    page = tmp_path / "benchmarks.md"
    sections = [Section("Time", [Row("a | b", (1.0,), budget=0.5, note="as fast as it gets")], "About it.")]
    report.write(str(page), sections, report.Conditions(7, 0.0405, (1.0, 2.0)))
    page.write_text(page.read_text() + "\n## By hand\n")
    report.write(str(page), sections, report.Conditions(9, 0.0405, (1.0, 2.0)))
    text = page.read_text()
    assert text.count("## Time") == text.count("## By hand") == text.count(report.END) == 1
    assert "| a / b | 1000 ms | 1 |  |  |  | ≤ 500 ms | OVER |" in text
    assert "Medians of n samples (9 runs" in text
    assert "Over budget: a | b." in text
    assert "- a | b: as fast as it gets" in text
    node = platform.node()
    assert not node or node not in text
