"""The tables of consumer/SCALING.md: that they are those of the results, and what is computed from figures made up here."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import bench  # noqa: E402 (the path is set above)
import frame  # noqa: E402
import scaling  # noqa: E402

V = {"one": 1e6, "two": 1.6e6, "cpu": 1000, "held": 40, "replay": 1e6, "close": 50, "relay": 2e4, "call": 50, "row": 1100,
     "account": 250}


def section(date, *cells):
    return f"\n## {date}\n\nmachine\n\n" + frame.as_markdown(cells)


def test_the_page_has_the_figures_of_the_results():
    page = scaling.PAGE.read_text()
    inputs = scaling.inputs_of(scaling.figures_of(scaling.RESULTS.read_text()))
    assert scaling.page_with(page, scaling.tables(inputs)) == page, "run tests/bench/scaling.py"


def test_each_figure_is_a_row_of_the_benchmarks():
    rows = {row.name for module in bench.SCRIPTS for row in module.ROWS}
    assert {row for row, _ in scaling.INPUTS.values()} <= rows


def test_the_newest_figure_of_a_row_counts():
    rate, size = frame.Row("rate", "records/s", "bare"), frame.Row("size", "bytes")
    text = frame.HEAD + section("2026-12-02", rate.result([1_234_567], [2_000_000]), size.missing("only with --long")) \
        + section("2026-12-01", rate.result([1], [1]), size.result([52.66]))
    assert scaling.figures_of(text) == {"rate": scaling.Figure(1234567, "2026-12-02"), "size": scaling.Figure(52.7, "2026-12-01")}


def test_a_row_that_is_missing_is_named():
    with pytest.raises(scaling.Failed, match="ingest, one worker; ingest, two workers;"):
        scaling.inputs_of({})


def test_what_a_load_takes():
    found = {what: text for what, (text, _) in scaling.load(V, 1_000_000, 7).items()}
    assert found == {
        "calls a day": "86.4 billion", "cores for settled": "2", "workers": "3", "partitions, at least": "173",
        "calls held": "691 billion", "memory for them": "27.6 TB", "machines of 256 GiB": "129",
        "network to settled": "50 MB/s", "network of the brokers": "200 MB/s", "Kafka's disk": "117 TB",
        "replay at a restart of a machine, two workers": "89 min", "close of a day": "50 s", "PostgreSQL's growth a year": "402 GB",
        "PostgreSQL's accounts": "250 MB"}


def test_without_a_late_day_the_rate_sets_the_partitions():
    found = scaling.load(V, 1_000_000, 0)
    assert (found["partitions, at least"][0], found["workers"][0], found["memory for them"][0]) == ("22", "3", "3.46 TB")
    assert scaling.load(V, 10_000, 0)["partitions, at least"][0] == "1"


@pytest.mark.parametrize("written", [
    (scaling.count(2.1), "3"), (scaling.count(1234), "1,234"), (scaling.count(26_843_545), "26.8 million"),
    (scaling.seconds(59), "59 s"), (scaling.seconds(600), "10 min"), (scaling.seconds(5 * 3600), "5 h"),
    (scaling.size(86_400_000), "86.4 MB"), (scaling.size(555_000), "555 kB"), (scaling.size(12), "12 bytes"),
    (scaling.number(2_114_724), "2,114,724"), (scaling.number(30.8), "30.8"),
])
def test_figures_are_written_with_three_digits_at_most(written):
    assert written[0] == written[1]


def test_a_page_without_a_place_for_a_table_is_refused():
    with pytest.raises(scaling.Failed, match="0 places for the table 'loads'"):
        scaling.page_with("", {"loads": "x"})


def test_tables_are_written_again_in_their_own_places():
    page = "a\n<!-- one: x -->\n<!-- end -->\nb\n<!-- two: x -->\nold\n\nolder\n<!-- end -->\nc\n"
    written = "a\n<!-- one: x -->\n1\n<!-- end -->\nb\n<!-- two: x -->\n2\n<!-- end -->\nc\n"
    assert scaling.page_with(page, {"one": "1", "two": "2"}) == written
    assert scaling.page_with(written, {"two": "2"}) == written
