import pytest

from service.cli.output import format_bytes, format_time, pluralize, print_table


def test_a_table_shows_text_without_interpreting_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("cohort", "reason"), [("internal:100:20", "[red]stop[/red] :warning:")], empty="none")
    shown = capsys.readouterr().out
    assert "internal:100:20" in shown
    assert "[red]stop[/red] :warning:" in shown


def test_a_table_without_rows_is_the_text_for_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("cohort",), [], empty="no cohorts yet")
    assert capsys.readouterr().out == "no cohorts yet\n"


def test_nouns_are_singular_for_one() -> None:
    assert [pluralize(number, "stage") for number in (0, 1, 2000)] == ["0 stages", "1 stage", "2,000 stages"]


@pytest.mark.parametrize(
    ("timestamp", "shown"),
    [
        ("2026-11-20T19:53:20.789407Z", "2026-11-20T19:53:20Z"),
        ("2026-11-20T19:53:20Z", "2026-11-20T19:53:20Z"),
        (None, ""),
    ],
)
def test_times_are_shown_without_fractions_of_a_second(timestamp: str | None, shown: str) -> None:
    assert format_time(timestamp) == shown


@pytest.mark.parametrize(("size", "shown"), [(0, "0 B"), (999, "999 B"), (4_200_000_000, "4.2 GB")])
def test_sizes_are_shown_in_decimal_units(size: int, shown: str) -> None:
    assert format_bytes(size) == shown
