"""Register a model: look at the file in the inspection child, describe it, and only then keep it.

The page does it in two steps (`prepare`, corrections, `save`), the command in one (`register_model`). A refusal
leaves nothing behind: no file, no row.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from apimgmt.actors import Actor
from apimgmt.errors import Refused
from apimgmt.models import Model, ModelVersion, Workspace
from apimgmt.registry import model_store
from apimgmt.registry.agreement import proposed_names
from apimgmt.registry.confirmables import refuse_unconfirmed
from apimgmt.registry.convertible import refuse_missing_library, source_format
from apimgmt.registry.file_kinds import check_kind
from apimgmt.registry.meaning import (
    MOST_SHOWN,
    Findings,
    SampleRows,
    refuse_questions,
    sample_rows,
    study_request,
    with_meaning,
)
from apimgmt.registry.metadata import (
    DescriptionRefused,
    Metadata,
    is_metadata,
    parse_metadata,
    unstorable_sentence,
    with_outputs,
    with_own,
)
from apimgmt.registry.model_store import Staged
from apimgmt.registry.sample_table import learn_columns
from apimgmt.registry.spec_builder import Description, describe, with_nullable
from apimgmt.registry.storable import is_storable, unstorable_texts
from apimgmt.roles import REGISTER
from contract.meaning import Meaning, meaning_to_json
from contract.model_spec import Cell, ModelSpec, spec_to_json
from inference.meaning.classes import label_text
from inference.sandbox.inspection import InspectionChild, InspectionRefused, SelfTest, SelfTestFailed
from inference.sandbox.inspection_messages import ModelStudied
from inference.signature import NotServable, Signature

logger = logging.getLogger(__name__)

MAX_NAME_LENGTH = 100
CONVERSION_S = 120.0
"""A usual model of trees takes 2 s, one of a thousand large trees 10."""
MOST_OWNED_ROWS = 200


@dataclass(frozen=True)
class Prepared:
    """A staged file that was found servable, and what it is. Save or discard it.

    `owned`: the rows that were tried. No `self_test` while nobody knows the classes.
    """

    staged: Staged
    signature: Signature
    description: Description
    findings: Findings
    owned: SampleRows
    self_test: SelfTest | None


@dataclass(frozen=True)
class Registered:
    """The version that was saved."""

    model: Model
    version: ModelVersion
    is_new_model: bool
    findings: Findings = field(default_factory=Findings)


def register_model(
    workspace: Workspace,
    name: str,
    path: Path,
    *,
    metadata: bytes | None = None,
    sample_csv: bytes | None = None,
    target: str | None = None,
    outputs: Sequence[str] = (),
    confirmed: Collection[str] = (),
    actor: Actor,
) -> Registered:
    """Register a file in one step. Without `metadata` the `.json` beside the file counts, if there is one.

    `outputs`: each ROLE=NAME, beside what the metadata says. `confirmed`: codes of `confirmables`; with "names" the
    names that the sample has for the classes are taken.

    Raises a `Refused`: `NotAllowed`, `DescriptionRefused`, `FileTooLarge`.
    """
    actor.require(REGISTER)
    if metadata is None:
        beside = beside_of(path)
        metadata = beside.read_bytes() if beside is not None and is_metadata(beside.read_bytes()) else None
    try:
        staged = stage(model_store.chunks_of(path), sample_csv=sample_csv, target=target)
    except OSError as error:
        raise DescriptionRefused("file", [f"{path}: {error.strerror}."]) from None
    with discarded_on_refusal(staged):
        stated = parse_metadata(metadata) if metadata is not None else None
        if outputs:
            stated = with_outputs(stated or Metadata(), outputs)
        prepared = prepare(staged, path.name, metadata=stated, sample_csv=sample_csv, target=target)
        names = proposed_names(prepared.findings, prepared.description.spec.meaning) if "names" in confirmed else {}
        if names:
            stated = replace(stated or Metadata(), classes=_all_named(prepared.description.spec.meaning, names))
            prepared = prepare(staged, path.name, metadata=stated, sample_csv=sample_csv, target=target)
        return save(workspace, name, prepared, confirmed=confirmed, actor=actor)


def beside_of(path: Path) -> Path | None:
    """The file beside a model that may be its metadata: never the model itself."""
    beside = path.with_suffix(".json")
    return beside if beside != path and beside.is_file() else None


def _all_named(meaning: Meaning | None, names: Mapping[str, str]) -> dict[str, str]:
    """A class that the sample doesn't have keeps its name."""
    classes = meaning.classes if meaning is not None else ()
    return {label_text(one.label): names.get(label_text(one.label), one.name) for one in classes}


def stage(chunks: Iterable[bytes], *, sample_csv: bytes | None = None, target: str | None = None) -> Staged:
    """Take an upload in, for `prepare`: a file of another format as the ONNX file that is made of it.

    The sample's rows are among those that the two are compared on. Raises `Refused`.
    """
    staged = model_store.stage(chunks)
    with discarded_on_refusal(staged):
        source = source_format(staged.path)
        if source is None:
            return staged
        refuse_missing_library(source)
        rows = rows_of(sample_csv, target)
        try:
            with InspectionChild(CONVERSION_S, longest_s=CONVERSION_S) as child:
                return model_store.restage(
                    staged, lambda into: child.convert(staged.path, source.kind, rows, into=into)
                )
        except InspectionRefused as error:
            if error.log_tail:
                logger.warning("conversion_refused sha256=%s log=%s", staged.sha256, error.log_tail)
            raise DescriptionRefused("file", [str(error)]) from None


def rows_of(sample_csv: bytes | None, target: str | None) -> tuple[dict[str, Cell], ...]:
    """Rows of the sample as it reads by itself. One that can't be read is refused later, in its own words."""
    try:
        learnt = learn_columns(sample_csv, target=target) if sample_csv is not None else None
    except DescriptionRefused:
        return ()
    return learnt.rows[:MOST_OWNED_ROWS] if learnt is not None else ()


@contextmanager
def discarded_on_refusal(staged: Staged) -> Iterator[None]:
    """Leave no staged file behind when something is raised."""
    try:
        yield
    except BaseException:
        model_store.discard(staged)
        raise


def prepare(
    staged: Staged,
    filename: str,
    *,
    metadata: Metadata | None = None,
    sample_csv: bytes | None = None,
    target: str | None = None,
    rows: SampleRows | None = None,
) -> Prepared:
    """Inspect, describe and try out a staged file. Raises `DescriptionRefused`; the file stays staged.

    `rows`: the owner's, where there is no sample to read them from again.
    """
    check_kind(staged.path, filename)
    if target is not None and not is_storable(target):
        raise DescriptionRefused("target", [unstorable_sentence(target)])
    stated = metadata or Metadata()
    with InspectionChild() as child:
        try:
            signature = child.read(staged.path)
            stated = with_own(metadata, signature.metadata)
            description = describe(signature, stated, sample_csv, target)
            owned = rows or sample_rows(description.learnt)
            prepared = _tried(child, staged, signature, description, stated, owned)
        except NotServable as error:
            raise DescriptionRefused("file", [str(error)]) from None
        except InspectionRefused as error:
            if error.log_tail:
                logger.warning("inspection_refused sha256=%s log=%s", staged.sha256, error.log_tail)
            faults = [str(error)]
            if isinstance(error, SelfTestFailed) and not stated.sample and sample_csv is None:
                faults.append(_("The row tried was made up. Give a sample CSV, or a metadata file with a sample row."))
            raise DescriptionRefused("file", faults) from None
    _refuse_unstorable(prepared.description.spec)
    return prepared


def _refuse_unstorable(spec: ModelSpec) -> None:
    """What the owner states was read before: here it is a name or a label of the graph's."""
    meaning = meaning_to_json(spec.meaning) if spec.meaning is not None else None
    if unstorable := next(unstorable_texts([spec_to_json(spec), meaning]), None):
        raise DescriptionRefused("file", [unstorable_sentence(unstorable)])


def _tried(
    child: InspectionChild,
    staged: Staged,
    signature: Signature,
    description: Description,
    stated: Metadata,
    owned: SampleRows,
) -> Prepared:
    """What the outputs mean, which values may be missing, and the owner's rows with their answers."""
    path = staged.path

    def studied(spec: ModelSpec) -> ModelStudied:
        return child.study(path, lambda name: study_request(name, spec, signature, stated, owned))

    # First without missing values: whether those may be missing that are said to be, is tried below, and told by name.
    described, findings = with_meaning(description, studied(_without_gaps(description.spec)), stated)
    if findings.are_classes_unknown:
        return Prepared(staged, signature, described, findings, owned, None)
    child.check(path, described.spec)
    tried = described.unproven + described.stated_nullable
    described = with_nullable(described, child.nullable(path, described.spec, tried))
    if any(column.nullable for column in described.spec.columns):  # once more, with values missing
        described, findings = with_meaning(described, studied(described.spec), stated)
    fitting = owned.fitting(described.spec)
    shown = fitting if fitting.rows else SampleRows((described.spec.sample,))
    answers = child.try_rows(path, described.spec, shown.rows, shown.targets, shown=MOST_SHOWN)
    findings = replace(
        findings, rows=shown.rows[:MOST_SHOWN], predictions=answers.predictions, agreement=answers.agreement
    )
    return Prepared(staged, signature, described, findings, owned, child.self_test(path, described.spec))


def _without_gaps(spec: ModelSpec) -> ModelSpec:
    columns = tuple(msgspec.structs.replace(column, nullable=False) for column in spec.columns)
    return msgspec.structs.replace(spec, columns=columns)


def save(
    workspace: Workspace, name: str, prepared: Prepared, *, confirmed: Collection[str] = (), actor: Actor
) -> Registered:
    """Keep the file and make the version: the next one of a known name. `confirmed`: codes. Raises `Refused`."""
    actor.require(REGISTER)
    refuse_questions(prepared.findings)
    refuse_unconfirmed(prepared.findings, prepared.description.spec.meaning, confirmed)
    name = checked_name(name)
    spec = prepared.description.spec
    with transaction.atomic():
        model, is_new = Model.objects.get_or_create(workspace=workspace, name=name, defaults={"created_by": actor.name})
        Model.objects.select_for_update(no_key=True).get(
            pk=model.pk
        )  # two registering at once get numbers one after the other
        latest = model.versions.aggregate(latest=Max("number"))["latest"] or 0
        version = ModelVersion.objects.create(
            model=model,
            number=latest + 1,
            sha256=prepared.staged.sha256,
            size_bytes=prepared.staged.size_bytes,
            task=spec.task,
            spec=spec_to_json(spec),
            meaning=meaning_to_json(spec.meaning) if spec.meaning is not None else None,
            created_by=actor.name,
        )
        # Last, so that a refused row leaves no file; a file without a row, after a crash right here, harms nobody.
        try:
            model_store.keep(prepared.staged)
        except FileNotFoundError:
            raise Refused(_("The upload has expired. Choose the file again.")) from None
    return Registered(model, version, is_new, prepared.findings)


def checked_name(name: str) -> str:
    """A model's name without spaces around it. Raises `DescriptionRefused`."""
    name = " ".join(name.split())
    if not name:
        raise DescriptionRefused("name", [_("The model needs a name.")])
    if len(name) > MAX_NAME_LENGTH:
        raise DescriptionRefused("name", [_("The name is longer than %d characters.") % MAX_NAME_LENGTH])
    if not name.isprintable():
        raise DescriptionRefused("name", [_("The name has characters that can't be printed.")])
    return name
