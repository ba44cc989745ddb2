"""Learning columns from a sample CSV."""

from __future__ import annotations

import pytest

from apimgmt.registry.meaning import MOST_SHOWN, sample_rows
from apimgmt.registry.metadata import DescriptionRefused
from apimgmt.registry.sample_table import Known, Learnt, learn_columns
from tests.apimgmt.registry import makers


def learn(text: str, *, target: str | None = None, as_text: frozenset[str] = frozenset()) -> Learnt:
    return learn_columns(text.encode(), target=target, known=Known(as_text=as_text))


def refused(content: bytes) -> str:
    with pytest.raises(DescriptionRefused) as refusal:
        learn_columns(content, target=None)
    assert refusal.value.field == "sample"
    return str(refusal.value)


def test_types_ranges_and_baselines_are_learnt() -> None:
    learnt = learn("age,income,town,member\n30,1.5,Oslo,true\n40,2.5,Rome,false\n51,9,Oslo,true\n")

    age, income, town, member = learnt.columns
    assert (age.type, age.min, age.max, age.baseline) == ("int", 30, 51, 40)
    assert (income.type, income.min, income.max, income.baseline) == ("float", 1.5, 9.0, 2.5)
    assert (town.type, town.categories, town.baseline) == ("string", ("Oslo", "Rome"), "Oslo")
    assert (member.type, member.baseline) == ("bool", True)
    assert learnt.sample == {"age": 30, "income": 1.5, "town": "Oslo", "member": True}


def test_a_baseline_has_no_noise_of_binary_fractions() -> None:
    assert learn("x\n0.1\n0.2\n").columns[0].baseline == 0.15


def test_the_target_is_left_out() -> None:
    learnt = learn("x,y\n1,2\n", target="y")

    assert [column.name for column in learnt.columns] == ["x"]


@pytest.mark.parametrize("gap", ["", "NA", "NaN", "null", "None", "N/A"])
def test_a_gap_makes_a_column_nullable_and_is_not_the_example(gap: str) -> None:
    learnt = learn(f"x,y\n{gap},1\n2,3\n")

    assert [column.nullable for column in learnt.columns] == [True, None]
    assert learnt.columns[0].type == "int"
    assert learnt.sample == {"x": 2, "y": 3}


def test_a_column_without_any_value_has_no_type() -> None:
    assert learn("x,y\n,1\n,2\n").columns[0].type is None


def test_many_different_texts_are_no_categories() -> None:
    learnt = learn("name\n" + "\n".join(f"person {number}" for number in range(40)) + "\n")

    assert learnt.columns[0].categories is None


def test_digits_stay_text_where_the_model_takes_text() -> None:
    learnt = learn("postcode\n0150\n0250\n", as_text=frozenset({"postcode"}))

    assert (learnt.columns[0].type, learnt.sample) == ("string", {"postcode": "0150"})


def test_excels_semicolons_and_decimal_commas_are_understood() -> None:
    learnt = learn_columns("\ufeffa;b\r\n1,5;x\r\n2,5;y\r\n".encode(), target=None)

    assert (learnt.columns[0].type, learnt.columns[0].max) == ("float", 2.5)


def test_a_data_frames_row_numbers_are_left_out() -> None:
    assert [column.name for column in learn(",x\n0,5\n1,6\n").columns] == ["x"]


def test_a_quoted_line_end_is_part_of_its_cell() -> None:
    assert learn('x,y\n"a\nb",1\n').sample == {"x": "a\nb", "y": 1}


@pytest.mark.parametrize("word", ["inf", "1_000", "0x10", "1e999"])
def test_what_is_no_finite_number_is_text(word: str) -> None:
    assert learn(f"x\n1\n{word}\n").columns[0].type == "string"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The sample is empty"),
        (b"x,y\n", "no rows below its header"),
        (b"x,x\n1,2\n", "has x twice"),
        (b"x,,\n1,2,3\n", "has an empty name twice"),
        (b"x,y\n1,2\n3\n", "Line 3 of the sample has 1 cells, the header 2"),
        (b"x\n\xff\n", "not UTF-8 text (byte 2)"),
        (b'x,y\n"1,2\n', "The sample is not CSV"),
        (b"\n\n", "The sample is empty"),
    ],
    ids=makers.case_id,
)
def test_a_bad_sample_is_refused_in_words(content: bytes, words: str) -> None:
    assert words in refused(content)


def test_a_sample_of_nothing_but_the_target_is_refused() -> None:
    with pytest.raises(DescriptionRefused, match="no column besides what is predicted"):
        learn("y\n1\n", target="y")


# --- read as a request is --------------------------------------------------------------------------------------------


def test_a_sample_may_be_what_excel_writes_on_a_japanese_windows() -> None:
    learnt = learn_columns("\u90fd\u5e02,y\n\u6771\u4eac,1\n".encode("cp932"), target="y")

    assert learnt.sample == {"\u90fd\u5e02": "\u6771\u4eac"}


def test_a_separator_line_blanks_around_quotes_and_empty_rows_are_understood() -> None:
    learnt = learn('sep=;\na; "b" \n1,5; " x" \n2,5; "y"\n;\n;\n')

    assert (len(learnt.rows), learnt.columns[0].max, learnt.sample) == (2, 2.5, {"a": 1.5, "b": " x"})


def test_two_decimal_marks_in_one_column_are_refused() -> None:
    assert "amount has two decimal marks: 0,5 and 1.234" in refused(b"amount;town\n0,5;Oslo\n1.234;Oslo\n")


def test_columns_have_the_names_that_they_look_like() -> None:
    known = Known(names=("\u00e2ge", "hr"))

    learnt = learn_columns("a\u0302ge,\uff48\uff52,y \n1,2,3\n".encode(), target="y", known=known)

    assert [column.name for column in learnt.columns] == ["\u00e2ge", "hr"]


def test_a_word_for_no_value_may_be_a_category_of_the_graph() -> None:
    known = Known(as_text=frozenset({"country"}), categories={"country": frozenset({"NA", "US"})})

    learnt = learn_columns(b"country,v\nNA,1\nUS,NA\n", target=None, known=known)

    assert [(column.nullable, column.categories) for column in learnt.columns] == [(None, ("NA", "US")), (True, None)]
    assert learnt.sample == {"country": "NA", "v": 1}


@pytest.mark.parametrize(("n_rows", "is_known"), [(199, False), (200, True)])
def test_a_range_is_known_from_two_hundred_values_on(n_rows: int, is_known: bool) -> None:
    assert learn("v\n" + "1\n" * n_rows + "NA\n" * 50).columns[0].is_range_known is is_known


def test_the_rows_that_are_shown_are_a_spread_of_a_sorted_file() -> None:
    content = "x,y\n" + "".join(f"{number},{'abc'[number // 50]}\n" for number in range(150))

    rows = sample_rows(learn(content, target="y"))

    assert len(rows.rows) == len({row["x"] for row in rows.rows}) == 150
    assert [row["x"] for row in rows.rows[:MOST_SHOWN]][:: MOST_SHOWN - 1] == [0, 149]
    assert {target: rows.targets[:MOST_SHOWN].count(target) for target in "abc"} == {"a": 7, "b": 6, "c": 7}
    assert all(target == "abc"[row["x"] // 50] for row, target in zip(rows.rows, rows.targets, strict=True))
