"""CSV in, CSV or JSON out."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from contract.problems import Problem, RowError
from inference.formats import Reply, choose, sample_csv, table_from_rows
from inference.predictor import Predictor
from inference.table import Table
from tests import model_files as made
from tests.conftest import Load
from tests.model_files import spec_of

MANY = 5000  # more than one piece


def headers(content_type: str = "text/csv", accept: str = "*/*") -> dict[bytes, bytes]:
    return {b"content-type": content_type.encode(), b"accept": accept.encode()}


def decode(predictor: Predictor, body: bytes | str, content_type: str = "text/csv") -> Table:
    content = body.encode() if isinstance(body, str) else body
    return choose("predict", headers(content_type)).decode(content, predictor).table


def answer(predictor: Predictor, body: str, accept: str = "*/*") -> Reply:
    request_format = choose("predict", headers(accept=accept))
    decoded = request_format.decode(body.encode(), predictor)
    return request_format.encode(predictor.predict(decoded.table), decoded, predictor, "2")


def refusal(predictor: Predictor, body: bytes | str, content_type: str = "text/csv") -> Problem:
    with pytest.raises(Problem) as caught:
        decode(predictor, body, content_type)
    return caught.value


@pytest.fixture
def mixed(load: Load) -> Predictor:
    """`age` (int64), `height` (float), `is_member` (bool): all required; `weight` (float) may be missing."""
    kinds = {"age": "int64", "height": "float", "is_member": "bool", "weight": "float"}
    spec = spec_of({"age": "int", "height": "float", "is_member": "bool", "weight": "float?"}, {})
    return load((spec, made.summing(kinds)))


@pytest.fixture
def penguins(load: Load) -> Predictor:
    return load(made.penguins())


def columns_of(table: Table) -> list[list[Any]]:
    return [column.ravel().tolist() for column in table.columns]


# --- what is answered ------------------------------------------------------------------------------------------------


def test_a_classification_has_one_line_a_row_and_a_column_per_class(penguins: Predictor) -> None:
    reply = answer(penguins, "island,bill_length_mm\nDream,46.5\nBiscoe,50\n")

    header, *lines = csv.reader(io.StringIO(reply.body.decode()))
    assert reply.content_type == b"text/csv; charset=utf-8"
    assert header == ["prediction", "probability_Adelie", "probability_Chinstrap", "probability_Gentoo"]
    assert len(lines) == 2
    for label, *probabilities in lines:
        assert label == penguins.spec.classes[int(np.argmax([float(value) for value in probabilities]))]


def test_a_regression_has_one_column(load: Load) -> None:
    reply = answer(load((made.matrix_spec(1), made.passing_on())), "a\n0.97\n3\n")

    assert reply.body == b"prediction\n0.97\n3.0\n"


def test_class_names_are_quoted_where_csv_needs_it(load: Load) -> None:
    names = ('a "b", c', "50 %")
    predictor = load((made.matrix_spec(2, task="binary", classes=names), made.probabilities_only(2)))

    lines = list(csv.reader(io.StringIO(answer(predictor, "a,b\n1,0\n0,1\n").body.decode())))

    assert lines[0] == ["prediction", f"probability_{names[0]}", f"probability_{names[1]}"]
    assert [line[0] for line in lines[1:]] == list(names)


def test_pandas_reads_the_answer(penguins: Predictor) -> None:
    table = pd.read_csv(io.BytesIO(answer(penguins, "sex\nmale\nfemale\n").body))

    assert table.filter(like="probability_").sum(axis=1).to_numpy() == pytest.approx([1, 1])


def test_json_is_answered_where_accept_likes_it_better(penguins: Predictor) -> None:
    reply = answer(penguins, "island\nDream\n", accept="application/json")

    assert reply.content_type == b"application/json"
    assert json.loads(reply.body)["model_version"] == "2"


def test_the_answer_tells_what_was_recognised(mixed: Predictor) -> None:
    reply = answer(mixed, "age;height;is_member;weight\n3;1,5;true;70\n")

    assert reply.headers == ((b"x-csv-dialect", b"charset=utf-8; separator=semicolon; decimal=comma"),)


def test_the_sample_csv_gives_what_the_sample_row_gives(load: Load) -> None:
    for maker in (made.cancer, made.penguins, made.diabetes):
        predictor = load(maker())
        by_row = table_from_rows(predictor, [predictor.spec.sample])
        by_csv = decode(predictor, sample_csv(predictor.spec))
        assert str(by_row) == str(by_csv)


# --- what is taken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [1, MANY])
def test_values_of_every_type_are_read(mixed: Predictor, n_rows: int) -> None:
    lines = ["height,weight,is_member,age", *["1.75,,TRUE,40", "-2e-1, 70 ,0,9007199254740993"] * n_rows]

    age, height, is_member, weight = columns_of(decode(mixed, "\n".join(lines)))

    assert age[:2] == age[-2:] == [40, 9007199254740993]
    assert height[:2] == made.as_float32([1.75, -0.2])
    assert is_member[:2] == [True, False]
    assert np.isnan(weight[0])
    assert weight[1] == 70
    assert len(weight) == 2 * n_rows


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_marks_blank_lines_and_order_never_matter(mixed: Predictor, line_end: str, mark: bytes) -> None:
    body = line_end.join(["is_member,extra, age,height", "true,x,4,1.5", "", "false,y,5,2.5", "", ""])

    assert columns_of(decode(mixed, mark + body.encode()))[0] == [4, 5]


def test_quotes_keep_separators_and_line_ends(penguins: Predictor) -> None:
    table = decode(penguins, 'note,"island"\r\n"a ""b"", c\r\nd","Dream, ""N"""\r\n')

    island = columns_of(table)[1]
    assert island == ['Dream, "N"']


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_separator_is_found_in_the_header(mixed: Predictor, separator: str) -> None:
    body = "age,height,is_member\n4,1.5,true\n".replace(",", separator)

    assert columns_of(decode(mixed, body))[1] == [1.5]


@pytest.mark.parametrize("n_rows", [1, 100])
def test_a_decimal_comma_is_read_where_the_separator_is_a_semicolon(mixed: Predictor, n_rows: int) -> None:
    body = "age;height;is_member;weight\n" + "4;1,5;true;\n" * n_rows

    assert columns_of(decode(mixed, body))[1] == [1.5] * n_rows


def test_a_decimal_comma_in_quotes_is_no_number_between_commas(mixed: Predictor) -> None:
    problem = refusal(mixed, 'age,height,is_member\n4,"1,5",true\n')

    assert problem.errors == (RowError(1, "height", "a number", 'text "1,5"'),)


def test_whole_numbers_may_have_a_point(mixed: Predictor) -> None:
    assert columns_of(decode(mixed, "age,height,is_member\n" + "4.0,1,1\n" * 100))[0] == [4] * 100


@pytest.mark.parametrize("n_rows", [1, 100])
def test_an_empty_cell_or_a_column_left_out_is_missing(penguins: Predictor, n_rows: int) -> None:
    table = decode(penguins, "island,bill_length_mm\n" + ",\n" * n_rows)

    assert columns_of(table)[1] == [""] * n_rows
    assert np.isnan(columns_of(table)[0]).all()
    assert np.isnan(columns_of(table)[2]).all()


@pytest.mark.parametrize(
    ("charset", "text"), [("utf-8", "Größe 東"), ("iso-8859-1", "Größe"), ("shift_jis", "東京"), ("utf-16", "東京")]
)
def test_a_charset_that_is_said_is_read(penguins: Predictor, charset: str, text: str) -> None:
    body = f"island,sex\n{text},male\n".encode(charset)

    assert columns_of(decode(penguins, body, f'text/csv; charset="{charset}"'))[1] == [text]


def test_blanks_around_a_quoted_cell_do_not_count(penguins: Predictor) -> None:
    body = 'note, "island" ,sex\r\n"a, ""b"" ; c" ,\t"Dream, ""N"" " , "male" \r\n x "y" , Torgersen,female\r\n'

    assert columns_of(decode(penguins, body))[1] == ['Dream, "N" ', " Torgersen"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_first_line_that_names_the_separator_is_obeyed(mixed: Predictor, line: str, end: str, encoding: str) -> None:
    text = end.join([line, "age;height;is_member", "4;1,5;true", ""])

    decoded = choose("predict", headers()).decode(text.encode(encoding), mixed)

    assert columns_of(decoded.table)[1] == [1.5]
    assert "separator=semicolon" in str(decoded.note)


def test_a_bar_is_a_separator_only_where_it_is_named(mixed: Predictor) -> None:
    assert columns_of(decode(mixed, "sep=|\nage|height|is_member\n4|1.5|true\n"))[0] == [4]
    assert refusal(mixed, "age|height|is_member\n4|1.5|true\n").kind.code == "invalid_rows"
    assert "sep=x" in refusal(mixed, "sep=x\nagexheightxis_member\n").detail


@pytest.mark.parametrize("n_rows", [1, 20, MANY])
@pytest.mark.parametrize(("tail", "n_empty"), [(",,,\n" * 3, 3), (" , ,,\n,,,", 2), (",,,\n\n,,,,,\n\n", 2)])
def test_empty_rows_at_the_end_are_dropped_and_told(mixed: Predictor, n_rows: int, tail: str, n_empty: int) -> None:
    table = decode(mixed, "age,height,is_member,weight\n" + GOOD * n_rows + tail)

    assert table.n_rows == n_rows
    assert table.warnings is not None
    [warning] = table.warnings.listed
    assert (warning.row, warning.code, warning.value) == (n_rows + 1, "empty_rows_dropped", n_empty)


def test_empty_rows_before_others_and_alone_are_rows(penguins: Predictor, mixed: Predictor) -> None:
    assert decode(penguins, "island,sex\n,\nDream,male\n,\nDream,male\n").n_rows == 4
    assert decode(penguins, "island,sex\n,\n,\n").n_rows == 2
    assert refusal(mixed, "age,height,is_member\n,,\n4,1,1\n").errors[0].row == 1


@pytest.mark.parametrize("n_before", [0, 40, MANY])
def test_two_decimal_marks_in_one_column_are_refused_and_both_named(mixed: Predictor, n_before: int) -> None:
    body = "age;height;is_member;weight\n" + "4;1;true;2.5\n" * n_before + "4;0,5;true;1.5\n4;1.234;true;7\n"

    problem = refusal(mixed, body)

    first, second = n_before + 1, n_before + 2
    assert problem.kind.code == "invalid_rows"
    assert problem.errors == (
        RowError(first, "height", f'one decimal mark in the column: row {second} has "1.234"', 'text "0,5"'),
        RowError(second, "height", f'one decimal mark in the column: row {first} has "0,5"', 'text "1.234"'),
    )


def test_each_column_may_have_a_mark_of_its_own(mixed: Predictor) -> None:
    table = decode(mixed, "age;height;is_member;weight\n4;0,5;true;1.5\n4;7;true;2.25\n")

    assert columns_of(table)[1::2] == [[0.5, 7], [1.5, 2.25]]


LATIN = "caf\u00e9", "d\u00e9j\u00e0", "Gr\u00f6\u00dfe", "\u00c5se", "S\u00e3o Paulo", "Mu\u00f1oz", "fa\u00e7ade"
JAPANESE = "\u6771\u4eac", "\u7537", "\u30e1\u30e2", "\u5927\u962a\u5e02", "\u5973"


@pytest.mark.parametrize("word", JAPANESE)
def test_text_with_characters_of_two_bytes_is_japanese(penguins: Predictor, word: str) -> None:
    assert columns_of(decode(penguins, f"island,sex\n{word},male\n".encode("cp932")))[1] == [word]


@pytest.mark.parametrize("word", LATIN)
def test_text_in_a_latin_charset_is_refused_and_the_charset_asked_for(penguins: Predictor, word: str) -> None:
    body = f"island,sex\n{word},male\n".encode("cp1252")

    problem = refusal(penguins, body)

    assert problem.kind.code == "malformed_body"
    assert "charset=windows-1252" in problem.detail
    assert columns_of(decode(penguins, body, "text/csv; charset=windows-1252"))[1] == [word]


# --- what is refused -------------------------------------------------------------------------------------------------

GOOD = "4,1.5,true,70\n"


@pytest.mark.parametrize("n_before", [0, MANY])
@pytest.mark.parametrize(
    ("line", "column", "expected", "received"),
    [
        ("x,1,true,1", "age", "a whole number", 'text "x"'),
        ("3.5,1,true,1", "age", "a whole number", 'text "3.5"'),
        (f"{2**63},1,1,1", "age", f"a whole number from {-(2**63)} to {2**63 - 1}", f'text "{2**63}"'),
        (",1,true,1", "age", "a whole number", "an empty cell"),
        ("4,nan,true,1", "height", "a number", 'text "nan"'),
        ("4,inf,true,1", "height", "a number", 'text "inf"'),
        ("4,1_000,true,1", "height", "a number", 'text "1_000"'),
        ("4,٣,true,1", "height", "a number", 'text "٣"'),
        ("4,1e39,true,1", "height", "a number from -3.4028235e+38 to 3.4028235e+38", 'text "1e39"'),
        ("4,1e400,true,1", "height", "a number from -3.4028235e+38 to 3.4028235e+38", 'text "1e400"'),
        ("4,1,yes,1", "is_member", "true or false", 'text "yes"'),
        ("4,1,,1", "is_member", "true or false", "an empty cell"),
        ("4,1,1,nan", "weight", "a number", 'text "nan"'),
        ("4,1,1", "", "4 cells", "3 cells"),
        ("4,1,1,2,3", "", "4 cells", "5 cells"),
    ],
)
def test_a_wrong_cell_is_named(
    mixed: Predictor, n_before: int, line: str, column: str, expected: str, received: str
) -> None:
    body = "age,height,is_member,weight\n" + GOOD * n_before + line + "\n" + GOOD

    problem = refusal(mixed, body)

    assert problem.kind.code == "invalid_rows"
    assert problem.errors == (RowError(n_before + 1, column, expected, received),)
    assert problem.detail == f"1 fault in 1 of {n_before + 2} rows."


def test_faults_come_row_by_row_and_at_most_a_hundred_are_listed(mixed: Predictor) -> None:
    problem = refusal(mixed, "age,height,is_member\n" + "x,y,true\n" * MANY + "1,1,1\n")

    assert [(fault.row, fault.column) for fault in problem.errors[:3]] == [(1, "age"), (1, "height"), (2, "age")]
    assert len(problem.errors) == 100
    assert problem.detail == f"More than 100 faults, in {MANY} of {MANY + 1} rows; the first 100 are listed."


def test_columns_that_the_header_lacks_are_told_once(mixed: Predictor) -> None:
    problem = refusal(mixed, "age,heigth\n1,2\n3,4\n")

    assert problem.kind.code == "invalid_rows"
    assert problem.errors == (
        RowError(1, "heigth", 'the column "height"', 'a column called "heigth"', "height"),
        RowError(1, "is_member", "true or false", "nothing: the column is missing"),
    )


@pytest.mark.parametrize("body", ["age,height,is_member", "age,height,is_member\n\r\n\n"])
def test_a_header_without_rows_is_refused(mixed: Predictor, body: str) -> None:
    problem = refusal(mixed, body)

    assert problem.kind.code == "invalid_rows"
    assert problem.detail == "The CSV has a header but no rows."


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "The body is empty."),
        (b"\r\n \n", "The body is empty."),
        (b"\xef\xbb\xbf\n", "The body is empty."),
        (b"age,age,height,is_member\n1,1,1,1\n", 'names the column "age" twice'),
        (b'age,height,is_member\n1,"2,true\n', "line 2"),
        (b'age,height,is_member\n1,"2"x,true\n', "line 2"),
        (b"age,height,is_member\n1,\xff,true\n", "neither utf-8 nor cp932: invalid byte at position 23"),
        (b"\xef\xbb\xbfage,\xff\n", "not utf-8: invalid byte at position 7"),
        (b"age,height,is_member\n" + b"1,1,true\n" * MANY + b"\xe3", f"position {21 + 9 * MANY}"),
        (b"age,height,is_member,note\n1,1,1," + b"x" * 200_000, "field larger than field limit"),
    ],
)
def test_what_is_not_csv_is_malformed(mixed: Predictor, body: bytes, words: str) -> None:
    problem = refusal(mixed, body)

    assert problem.kind.code == "malformed_body"
    assert words in problem.detail


def test_what_excel_writes_on_a_japanese_windows_is_recognised(penguins: Predictor) -> None:
    body = "island,sex,メモ\n東京,male,ソ\n".encode("cp932")

    request_format = choose("predict", headers())
    decoded = request_format.decode(body, penguins)

    assert columns_of(decoded.table)[1] == ["東京"]
    assert str(decoded.note) == "charset=cp932; separator=comma; decimal=point"
    marked = "island,sex\n東京,male\n".encode("utf-16")
    assert str(request_format.decode(marked, penguins).note).startswith("charset=utf-16")


def test_a_body_in_another_charset_than_said_is_malformed(mixed: Predictor) -> None:
    assert refusal(mixed, b"a,b\n\x81", "text/csv; charset=shift_jis").kind.code == "malformed_body"
    assert refusal(mixed, b"a,b\n1", "text/csv; charset=utf-16").kind.code == "malformed_body"


def test_ten_thousand_columns_are_read(load: Load) -> None:
    predictor = load((made.matrix_spec(1), made.passing_on()))
    header, line = ",".join(f"x{index}" for index in range(10_000)), ",".join(["1"] * 10_000)

    assert decode(predictor, f"{header},a\n{line},7\n").n_rows == 1
    assert refusal(predictor, f"{header}\n{line}\n").errors[0].column == "a"


LATIN = "name,n\nM\u00fcller,1\n".encode("latin-1")


@pytest.fixture
def named(load: Load) -> Predictor:
    return load((spec_of({"name": "string", "n": "float"}, {}), made.summing({"name": "string", "n": "float"})))


def texts(predictor: Predictor, body: bytes, content_type: str, default: str) -> list[str]:
    decoded = choose("predict", headers(content_type), default).decode(body, predictor)
    return columns_of(decoded.table)[0]


def test_the_apis_charset_is_that_of_bytes_that_are_no_utf_8(named: Predictor) -> None:
    assert texts(named, LATIN, "text/csv", "windows-1252") == ["M\u00fcller"]
    assert texts(named, LATIN, "text/csv; charset=iso-8859-15", "cp932") == ["M\u00fcller"]
    assert texts(named, LATIN.decode("latin-1").encode(), "text/csv", "windows-1252") == ["M\u00fcller"]
    assert texts(named, LATIN.decode("latin-1").encode("utf-16"), "text/csv", "windows-1252") == ["M\u00fcller"]
    assert texts(named, "name,n\n\u6771\u4eac,1\n".encode("cp932"), "text/csv", "") == ["\u6771\u4eac"]


def test_bytes_that_are_not_even_in_the_apis_charset_are_refused(named: Predictor) -> None:
    with pytest.raises(Problem) as caught:
        texts(named, b"name,n\n\xff\xff,1\n", "text/csv", "euc-jp")

    assert caught.value.kind.code == "malformed_body"
