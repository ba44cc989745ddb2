"""Registering: what is stored, under which number, by whom; and that a refusal leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
import time
import zipfile
from pathlib import Path

import onnx
import pytest
from django.db import connection

from apimgmt.actors import Actor, shell_actor
from apimgmt.errors import NotAllowed
from apimgmt.models import Model, ModelVersion, Workspace
from apimgmt.registry import model_store
from apimgmt.registry.file_kinds import PickleRefused
from apimgmt.registry.metadata import DescriptionRefused
from apimgmt.registry.registration import Registered, register_model
from contract.model_spec import spec_from_json
from contract.model_store import stored_path
from tests.apimgmt.registry import makers
from tests.apimgmt.registry.conftest import stored_files
from tests.factories import actor_for, make_user, make_workspace

INSTALLER = Actor(name="shell:root", role="installer", address="", user=None)


def register(workspace: Workspace, folder: Path, content: bytes, **arguments: object) -> Registered:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return register_model(workspace, str(arguments.pop("name", "Mine")), path, actor=INSTALLER, **arguments)


@pytest.mark.parametrize("name", ["penguins", "breast_cancer", "diabetes"])
def test_a_demo_model_is_registered_with_the_metadata_beside_it(store: Path, workspace: Workspace, name: str) -> None:
    path = makers.DEMO_MODELS / f"{name}.onnx"

    registered = register_model(workspace, "Demo", path, actor=INSTALLER)

    spec = spec_from_json(registered.version.spec)
    assert (registered.version.number, registered.is_new_model) == (1, True)
    assert (registered.version.task, spec.description != "", spec.score.rows > 50) == (spec.task, True, True)
    assert set(spec.sample) == {column.name for column in spec.columns}


def test_what_is_stored_is_the_bytes_under_their_sha256(store: Path, workspace: Workspace) -> None:
    path = makers.DEMO_MODELS / "diabetes.onnx"

    version = register_model(workspace, "Demo", path, actor=INSTALLER).version

    kept = model_store.path_of(version.sha256)
    assert kept == stored_path(store, version.sha256)
    assert version.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert kept.read_bytes() == path.read_bytes()
    assert version.size_bytes == path.stat().st_size
    assert stored_files(store) == [version.sha256]
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    model_store.verify(version.sha256)


def test_somebody_elses_file_needs_no_metadata(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    version = register(workspace, tmp_path, makers.iris("int", zipmap=True)).version

    version.refresh_from_db()
    assert version.spec["classes"] == ["0", "1", "2"]
    assert version.spec["sample"] == {"x0": 0.0, "x1": 0.0, "x2": 0.0, "x3": 0.0}


def test_a_sample_gives_a_model_its_example_row(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DescriptionRefused, match="Give a sample CSV"):
        register(workspace, tmp_path, makers.numbers_as_text())

    version = register(
        workspace, tmp_path, makers.numbers_as_text(), sample_csv=b"code,t\n01234,1\n02345,2\n", target="t"
    ).version

    assert version.spec["sample"] == {"code": "01234"}


def test_a_model_that_lists_its_categories_needs_no_sample(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    version = register(workspace, tmp_path, makers.colours()).version

    version.refresh_from_db()
    [column] = version.spec["columns"]
    assert (column["categories"], column["is_closed"]) == (["blue", "green", "red"], True)
    assert version.spec["sample"] == {"colour": "blue"}


def test_missing_values_are_tried_out_where_nobody_said(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    penguins = (makers.DEMO_MODELS / "penguins.onnx").read_bytes()

    version = register(workspace, tmp_path, penguins).version

    nullable = {column["name"] for column in version.spec["columns"] if column.get("nullable")}
    assert nullable == {"island", "sex", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "year"}


def test_nullability_that_the_model_does_not_keep_is_refused(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    metadata = b'{"columns": [{"name": "a", "nullable": true}, {"name": "b"}, {"name": "c"}]}'

    with pytest.raises(DescriptionRefused, match="column a: it can't be missing"):
        register(workspace, tmp_path, makers.line(3), metadata=metadata)


def test_a_known_name_makes_the_next_version(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    first = register(workspace, tmp_path, makers.iris("int"), name="Iris")

    second = register(workspace, tmp_path, makers.iris("text"), name="  Iris ")

    assert (second.model, second.version.number, second.is_new_model) == (first.model, 2, False)
    assert len(stored_files(store)) == 2


def test_the_same_name_in_another_workspace_is_another_model(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    first = register(workspace, tmp_path, makers.line())

    second = register(make_workspace(), tmp_path, makers.line())

    assert second.model != first.model
    assert second.version.sha256 == first.version.sha256


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        pickle.dumps({}),
        makers.image(),
        makers.iris()[:-40],
        makers.external_weights(),
        makers.not_finite(),
    ],
    ids=makers.case_id,
)
def test_a_refused_file_leaves_nothing_behind(
    store: Path, workspace: Workspace, tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(DescriptionRefused):
        register(workspace, tmp_path, content)

    assert stored_files(store) == []
    assert not Model.objects.filter(workspace=workspace).exists()


def test_a_pickle_is_refused_with_its_own_name_in_the_export_line(
    store: Path, workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "churn.joblib"
    path.write_bytes(pickle.dumps({}))

    with pytest.raises(PickleRefused, match=r"python demo/export_sklearn\.py churn\.joblib sample\.csv"):
        register_model(workspace, "Churn", path, actor=INSTALLER)


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "bell\x07"])
def test_a_name_that_is_none_is_refused(store: Path, workspace: Workspace, tmp_path: Path, name: str) -> None:
    with pytest.raises(DescriptionRefused) as refusal:
        register(workspace, tmp_path, makers.line(), name=name)

    assert refusal.value.field == "name"
    assert stored_files(store) == []


def test_a_file_that_is_too_large_is_refused_before_it_is_looked_at(
    store: Path, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_store, "MAX_MODEL_BYTES", 100)

    with pytest.raises(model_store.FileTooLarge):
        register(workspace, tmp_path, makers.iris())

    assert stored_files(store) == []


def test_a_viewer_may_not_register(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    viewer = actor_for(make_user("viewer", workspace))

    with pytest.raises(NotAllowed, match="Only an operator or an administrator"):
        register_model(workspace, "Mine", makers.DEMO_MODELS / "diabetes.onnx", actor=viewer)


@pytest.mark.parametrize("role", ["operator", "administrator"])
def test_operators_and_administrators_may(store: Path, workspace: Workspace, role: str) -> None:
    actor = actor_for(make_user(role, workspace))

    version = register_model(workspace, "Mine", makers.DEMO_MODELS / "diabetes.onnx", actor=actor).version

    assert version.created_by == actor.name


@pytest.mark.django_db(transaction=True)
def test_two_registering_at_once_get_two_numbers(store: Path, tmp_path: Path) -> None:
    workspace = make_workspace()
    errors: list[BaseException] = []

    def one(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            register(workspace, folder, makers.line(number + 2))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert Model.objects.count() == 1
    assert sorted(ModelVersion.objects.values_list("number", flat=True)) == [1, 2, 3, 4]


def test_damaged_bytes_in_the_store_are_noticed(store: Path, workspace: Workspace) -> None:
    version = register_model(workspace, "Demo", makers.DEMO_MODELS / "diabetes.onnx", actor=INSTALLER).version
    with model_store.path_of(version.sha256).open("r+b") as file:
        file.write(b"\x00")

    with pytest.raises(model_store.FileDamaged, match="not the one that was registered"):
        model_store.verify(version.sha256)


def test_registering_again_repairs_damaged_bytes(store: Path, workspace: Workspace) -> None:
    path = makers.DEMO_MODELS / "diabetes.onnx"
    version = register_model(workspace, "Demo", path, actor=INSTALLER).version
    model_store.path_of(version.sha256).write_bytes(b"damaged")

    register_model(workspace, "Demo", path, actor=INSTALLER)

    model_store.verify(version.sha256)


def test_bytes_that_are_gone_are_noticed(store: Path) -> None:
    with pytest.raises(model_store.FileDamaged, match="not in the model store"):
        model_store.verify("0" * 64)


def test_uploads_that_nobody_saved_are_forgotten(store: Path) -> None:
    old = model_store.stage([b"old"])
    ago = time.time() - model_store.STAGED_FOR_S - 1
    os.utime(old.path, (ago, ago))

    young = model_store.stage([b"young"])

    assert (old.path.exists(), young.path.exists()) == (False, True)


def test_an_upload_that_breaks_off_leaves_nothing(store: Path) -> None:
    def broken() -> object:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        model_store.stage(broken())

    assert stored_files(store) == []


def test_the_shell_is_an_installer(db: None) -> None:
    assert shell_actor(None).may("apimgmt.add_modelversion")


def zipped(content: bytes, tmp_path: Path) -> Path:
    """The model with its weights in a file beside it, as exporters write it."""
    onnx.save_model(
        onnx.load_model_from_string(content),
        str(tmp_path / "model.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "model.onnx", "export/model.onnx")
        if (tmp_path / "weights.bin").exists():
            archive.write(tmp_path / "weights.bin", "export/weights.bin")
    return path


def test_a_zip_archive_becomes_one_file(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    path = zipped(makers.iris(), tmp_path)

    version = register_model(workspace, "Zipped", path, actor=INSTALLER).version

    stored = stored_path(store, version.sha256).read_bytes()
    assert onnx.load_model_from_string(stored).graph.node
    assert stored_files(store) == [version.sha256]
    assert version.size_bytes == len(stored)
    assert hashlib.sha256(stored).hexdigest() == version.sha256


def test_a_bad_archive_leaves_nothing_behind(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../model.onnx", makers.iris())

    with pytest.raises(DescriptionRefused, match="a file outside of itself"):
        register_model(workspace, "Zipped", path, actor=INSTALLER)

    assert stored_files(store) == []
