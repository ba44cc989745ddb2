"""The Register model page: two plain forms, errors beside their fields, nothing kept of what is refused."""

from __future__ import annotations

import pickle
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from apimgmt.models import Model, ModelVersion, Workspace
from apimgmt.registry import drafts
from tests.apimgmt.registry import makers
from tests.apimgmt.registry.conftest import stored_files
from tests.factories import make_user, make_workspace

UPLOAD = "/models/register/"


def signed_in(role: str, *workspaces: Workspace) -> Client:
    client = Client()
    client.force_login(make_user(role, *workspaces))
    return client


@pytest.fixture
def operator(workspace: Workspace, store: Path) -> Client:
    return signed_in("operator", workspace)


def upload(client: Client, workspace: Workspace, content: bytes | None = None, **fields: Any) -> HttpResponse:
    data = {"workspace": workspace.pk, "name": "Mine", **fields}
    if content is not None:
        data["file"] = SimpleUploadedFile(fields.pop("filename", "model.onnx"), content)
    return client.post(UPLOAD, data)


def text_file(name: str, content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


def review_of(client: Client, workspace: Workspace, content: bytes, **fields: Any) -> str:
    """The address of the second step."""
    response = upload(client, workspace, content, **fields)
    assert response.status_code == 303, response.content.decode()
    return response["Location"]


def cells(page: HttpResponse) -> dict[str, str]:
    """What a browser would send back unchanged."""
    html = page.content.decode()
    fields = re.findall(r'<input(?! type="checkbox")([^>]*?) name="([^"]+)" value="([^"]*)"', html)
    inputs = [(name, _sent(unescape(value), is_hidden='"hidden"' in tag)) for tag, name, value in fields]
    checked = re.findall(r'<input type="checkbox" name="([^"]+)" value="1" checked', html)
    selects = re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', html, re.DOTALL)
    chosen = {name: _chosen(options) for name, options in selects}
    sent = dict(inputs) | dict.fromkeys(checked, "1") | chosen
    return {name: value for name, value in sent.items() if name != "csrfmiddlewaretoken"}


def _sent(value: str, *, is_hidden: bool) -> str:
    """Browsers send each line break of a hidden field as two characters, and take them out of a field of one line."""
    lines = value.replace("\r\n", "\n").replace("\r", "\n")
    return lines.replace("\n", "\r\n") if is_hidden else lines.replace("\n", "")


def _chosen(options: str) -> str:
    """The option that is selected, or the first: "" where nothing is chosen yet."""
    selected = re.search(r'<option value="([^"]*)" selected', options) or re.search(r'<option value="([^"]*)"', options)
    return selected.group(1) if selected else ""


def test_the_form_is_a_plain_form(operator: Client) -> None:
    page = operator.get(UPLOAD).content.decode()

    assert 'method="post"' in page
    assert 'enctype="multipart/form-data"' in page
    assert all(f'name="{name}"' in page for name in ("workspace", "name", "file", "metadata", "sample", "target"))


def test_the_next_version_of_a_model_has_its_name_filled_in(operator: Client, workspace: Workspace) -> None:
    model = Model.objects.create(workspace=workspace, name="Churn", created_by="x")
    other = Model.objects.create(workspace=make_workspace(), name="Secret", created_by="x")

    assert 'value="Churn"' in operator.get(f"{UPLOAD}?model={model.pk}").content.decode()
    assert "Secret" not in operator.get(f"{UPLOAD}?model={other.pk}").content.decode()


def test_upload_shows_what_was_found_and_save_registers_it(operator: Client, workspace: Workspace) -> None:
    penguins = (makers.DEMO_MODELS / "penguins.onnx").read_bytes()
    metadata = text_file("penguins.json", (makers.DEMO_MODELS / "penguins.json").read_bytes())
    review = review_of(operator, workspace, penguins, metadata=metadata)

    page = operator.get(review)
    saved = operator.post(review, cells(page))

    version = ModelVersion.objects.get()
    assert (version.model.name, version.number, version.task) == ("Mine", 1, "multiclass")
    assert (saved.status_code, saved["Location"]) == (303, reverse("model-api", args=[version.model.pk]))
    assert version.spec["score"]["rows"] == 69
    assert version.spec["columns"][0] == {
        "name": "island", "type": "string", "categories": ["Biscoe", "Dream", "Torgersen"],
        "baseline": "Biscoe", "nullable": True,
    }  # fmt: skip


def test_unchanged_cells_save_what_was_found(operator: Client, workspace: Workspace, tmp_path: Path) -> None:
    diabetes = (makers.DEMO_MODELS / "diabetes.onnx").read_bytes()
    metadata = text_file("m.json", (makers.DEMO_MODELS / "diabetes.json").read_bytes())
    review = review_of(operator, workspace, diabetes, metadata=metadata)
    found = drafts.load_draft(review.rstrip("/").rpartition("/")[2], int(operator.session["_auth_user_id"])).found

    operator.post(review, cells(operator.get(review)))

    assert ModelVersion.objects.get().described() == found.spec


def test_corrections_are_saved(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.iris("int"))
    sent = cells(operator.get(review)) | {
        "name": "Iris", "target": "kind",
        "class-0-name": "setosa", "class-1-name": "versicolor", "class-2-name": "virginica",
        "column-0-name": "sepal length",
        "column-0-type": "int", "column-0-baseline": "6", "column-0-sample": "5", "column-1-unit": "cm",
    }  # fmt: skip

    operator.post(review, sent)

    spec = ModelVersion.objects.get().spec
    assert (spec["classes"], spec["target"]) == (["setosa", "versicolor", "virginica"], "kind")
    assert spec["columns"][0] == {"name": "sepal length", "type": "int", "baseline": 6}
    assert spec["columns"][1]["unit"] == "cm"
    assert spec["sample"] == {"sepal length": 5, "x1": 0.0, "x2": 0.0, "x3": 0.0}


@pytest.mark.parametrize(
    ("cell", "value", "words"),
    [
        ("column-0-baseline", "abc", "Expected a number."),
        ("column-0-sample", "", "Expected a number."),
        ("column-0-sample", "inf", "Expected a number."),
        ("column-0-sample", "1" + "0" * 400, "Expected a number."),
        ("column-0-name", "", "The column needs a name."),
        ("column-0-name", "x1", "This name is there twice."),
        ("column-0-nullable", "1", "column x0: it can&#x27;t be missing"),
        ("class-1-name", " ", "The class needs a name."),
        ("class-1-name", "0", "This name is there twice."),
        ("class-1-name", "x" * 201, "The name is longer than 200 characters."),
        ("class-1-name", "a\u200bb", "The name has characters that can&#x27;t be printed."),
        ("target", " ", "Name what is predicted."),
        ("name", "", "The model needs a name."),
    ],
)
def test_a_wrong_cell_is_told_and_nothing_is_saved(
    operator: Client, workspace: Workspace, cell: str, value: str, words: str
) -> None:
    review = review_of(operator, workspace, makers.iris("int"))

    page = operator.post(review, cells(operator.get(review)) | {cell: value})

    assert page.status_code == 422
    assert words in page.content.decode()
    assert not ModelVersion.objects.exists()


def test_a_whole_number_beyond_64_bits_is_none(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.iris("int"))
    typed = {"column-0-type": "int", "column-0-sample": "9" * 30, "column-0-baseline": "1"}

    page = operator.post(review, cells(operator.get(review)) | typed)

    assert 'aria-describedby="column-0-sample-error"' in page.content.decode()
    assert cells(page)["column-0-sample"] == typed["column-0-sample"]


def test_the_graphs_own_categories_are_shown_and_expected(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.colours())
    sent = cells(operator.get(review))

    page = operator.post(review, sent | {"column-0-sample": "violet", "column-0-baseline": "Blue"})
    saved = operator.post(review, sent | {"column-0-sample": "\uff52ed", "column-0-categories": "red"})

    assert "column-0-categories" not in sent
    assert page.content.decode().count("Expected one of blue, green, red.") == 2
    assert saved.status_code == 303
    spec = ModelVersion.objects.get().spec
    assert (spec["sample"], spec["columns"][0]["categories"]) == ({"colour": "red"}, ["blue", "green", "red"])


def test_categories_that_are_too_long_to_read_are_refused(operator: Client, workspace: Workspace) -> None:
    metadata = text_file("m.json", b'{"columns": [{"name": "code", "type": "string", "categories": ["1", "2"]}]}')
    review = review_of(operator, workspace, makers.numbers_as_text(), metadata=metadata)

    page = operator.post(review, cells(operator.get(review)) | {"column-0-categories": "x" * 200_000})

    assert page.status_code == 422
    assert "A category is too long." in page.content.decode()


def test_a_refused_cell_keeps_what_was_typed(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.iris("int"))

    page = operator.post(review, cells(operator.get(review)) | {"column-0-baseline": "abc", "column-1-name": "mine"})

    assert (cells(page)["column-0-baseline"], cells(page)["column-1-name"]) == ("abc", "mine")


def test_a_sample_is_learnt_from(operator: Client, workspace: Workspace) -> None:
    sample = text_file("rows.csv", b"colour,t\nred,1\ngreen,2\nred,1\n")
    review = review_of(operator, workspace, makers.colours(), sample=sample, target="t")

    page = operator.get(review).content.decode()

    assert '<span class="exact">blue,green,red</span>' in page
    assert "sample CSV" in page


def test_a_known_name_is_announced_as_its_next_version(operator: Client, workspace: Workspace) -> None:
    first = review_of(operator, workspace, makers.iris("int"))
    operator.post(first, cells(operator.get(first)))

    second = review_of(operator, workspace, makers.iris("text"))

    assert "Becomes version 2 of Mine." in operator.get(second).content.decode()


def test_a_pickle_gets_the_two_lines_and_nothing_is_kept(operator: Client, workspace: Workspace, store: Path) -> None:
    page = upload(operator, workspace, pickle.dumps({}), filename="churn.pkl")

    text = page.content.decode()
    assert page.status_code == 422
    assert "pip install scikit-learn skl2onnx onnxruntime pandas\npython export_sklearn.py churn.pkl sample.csv" in text
    assert reverse("model-register-script") in text
    assert stored_files(store) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty."),
        (b"text", "This is a text file"),
        (makers.image(), "This console serves tables: the input image"),
        (makers.iris()[:-20], "damaged or cut off"),
    ],
    ids=makers.case_id,
)
def test_a_refused_file_is_told_beside_its_field(
    operator: Client, workspace: Workspace, store: Path, content: bytes, words: str
) -> None:
    page = upload(operator, workspace, content)

    text = page.content.decode()
    assert page.status_code == 422
    assert words in text[text.index('name="file"') : text.index('name="metadata"')]
    assert stored_files(store) == []


def test_no_file_is_told_beside_its_field(operator: Client, workspace: Workspace) -> None:
    page = upload(operator, workspace)

    assert (page.status_code, "Choose the model&#x27;s file." in page.content.decode()) == (422, True)


def test_bad_metadata_keeps_the_upload_for_the_next_try(operator: Client, workspace: Workspace) -> None:
    page = upload(operator, workspace, makers.iris("int"), metadata=text_file("m.json", b'{"tsk": 1}'))
    text = page.content.decode()
    kept = cells(page)["kept"]

    again = upload(operator, workspace, kept=kept, metadata=text_file("m.json", b'{"classes": ["a", "b", "c"]}'))

    assert "tsk: unknown key" in text[text.index('name="metadata"') : text.index('name="sample"')]
    assert again.status_code == 303
    page = cells(operator.get(again["Location"]))
    assert [page[f"class-{index}-name"] for index in range(3)] == ["a", "b", "c"]


def test_a_bad_sample_is_told_beside_its_field(operator: Client, workspace: Workspace) -> None:
    page = upload(operator, workspace, makers.iris(), sample=text_file("rows.csv", b"a,b\n1,2\n"))

    text = page.content.decode()
    assert (
        "The sample has 2 columns, the model takes 4."
        in text[text.index('name="sample"') : text.index('name="target"')]
    )


def test_discard_forgets_the_upload(operator: Client, workspace: Workspace, store: Path) -> None:
    review = review_of(operator, workspace, makers.iris())

    response = operator.post(review, {"discard": "1"})

    assert (response.status_code, response["Location"]) == (303, reverse("model-list"))
    assert stored_files(store) == []


def test_saving_twice_registers_once(operator: Client, workspace: Workspace, store: Path) -> None:
    review = review_of(operator, workspace, makers.iris())
    sent = cells(operator.get(review))

    operator.post(review, sent)
    again = operator.post(review, sent)

    assert again["Location"] == UPLOAD
    assert ModelVersion.objects.count() == 1
    assert len(stored_files(store)) == 1


def test_another_persons_upload_is_out_of_reach(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.iris())
    colleague = signed_in("operator", workspace)

    seen = colleague.get(review)

    assert seen["Location"] == UPLOAD


@pytest.mark.parametrize(
    ("token", "status"),
    [("x", 303), ("..", 303), ("A" * 32, 303), ("%2e%2e%2fpasswd", 404)],  # the last is a path of two parts
)
def test_a_made_up_upload_leads_back_to_the_form(operator: Client, token: str, status: int) -> None:
    response = operator.get(f"{UPLOAD}{token}/")

    assert response.status_code == status


def test_somebody_elses_workspace_is_no_choice(operator: Client, store: Path) -> None:
    other = make_workspace()

    page = upload(operator, other, makers.iris())

    assert page.status_code == 422
    assert stored_files(store) == []


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_viewer_is_told_who_may(workspace: Workspace, store: Path, method: str) -> None:
    response = getattr(signed_in("viewer", workspace), method)(UPLOAD)

    assert response.status_code == 403
    assert "Only an operator or an administrator can register models." in response.content.decode()


def test_a_stranger_is_sent_to_the_login(db: None) -> None:
    for address in (UPLOAD, f"{UPLOAD}{'A' * 32}/", reverse("model-register-script")):
        assert Client().get(address)["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("method", ["put", "delete", "patch"])
def test_other_methods_are_refused(operator: Client, method: str) -> None:
    assert getattr(operator, method)(UPLOAD).status_code == 405


def test_the_export_script_can_be_downloaded(operator: Client) -> None:
    response = operator.get(reverse("model-register-script"))

    script = Path(__file__).resolve().parents[3] / "demo" / "export_sklearn.py"
    assert response.content == script.read_bytes()
    assert "attachment" in response["Content-Disposition"]


def test_the_model_list_links_the_page_for_those_who_may(operator: Client, workspace: Workspace) -> None:
    assert UPLOAD in operator.get(reverse("model-list")).content.decode()
    assert UPLOAD not in signed_in("viewer", workspace).get(reverse("model-list")).content.decode()
