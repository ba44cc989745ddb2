"""A stored file, reviewed again: for a version of an earlier release whose meaning is not certain."""

from __future__ import annotations

import msgspec
from django.utils.translation import gettext as _

from apimgmt.errors import Refused
from apimgmt.models import ModelVersion
from apimgmt.registry import drafts, model_store, registration
from apimgmt.registry.drafts import Draft, Found
from apimgmt.registry.metadata import DescriptionRefused, Metadata, StatedColumn
from apimgmt.registry.model_store import FileDamaged
from contract.model_spec import Column, ModelSpec
from inference.meaning.classes import names_as_stated


def review_again(version: ModelVersion, user_id: int) -> Draft:
    """A draft of the same file, described as it is stored, its outputs and classes tried again. It is not saved yet.

    Raises `DescriptionRefused`.
    """
    try:
        model_store.verify(version.sha256)
        staged = registration.stage(model_store.chunks_of(model_store.path_of(version.sha256)))
    except (FileDamaged, OSError, Refused) as error:
        raise DescriptionRefused("file", [str(error)]) from None
    with registration.discarded_on_refusal(staged):
        spec = version.described()
        filename = f"{version.model.name}.onnx"
        try:
            prepared = registration.prepare(staged, filename, metadata=_stated(spec, with_meaning=True))
        except DescriptionRefused:  # what it says of its classes may be what is wrong: the review asks instead
            prepared = registration.prepare(staged, filename, metadata=_stated(spec, with_meaning=False))
    return Draft(
        token=staged.token,
        sha256=staged.sha256,
        size_bytes=staged.size_bytes,
        filename=filename,
        user_id=user_id,
        workspace_id=version.model.workspace_id,
        name=version.model.name,
        found=_from_version(drafts.found_of(prepared)),
    )


def _from_version(found: Found) -> Found:
    """What a metadata file would have said was said when the version was registered."""
    before, now = _("metadata file"), _("stored version")
    sources = {what: now if origin == before else origin for what, origin in found.sources.items()}
    return msgspec.structs.replace(found, sources=sources)


def _stated(spec: ModelSpec, *, with_meaning: bool) -> Metadata:
    """What a stored description says. Which output is what, it never says: that is to be found out."""
    classes = names_as_stated(spec.meaning) if spec.meaning is not None and with_meaning else None
    return Metadata(
        task=spec.task if with_meaning else None,
        target=spec.target,
        classes=classes or None,
        columns=tuple(_stated_column(column) for column in spec.columns),
        input=spec.input,
        sample=spec.sample,
        score=spec.score,
        description=spec.description,
    )


def _stated_column(column: Column) -> StatedColumn:
    return StatedColumn(
        name=column.name,
        type=column.type,
        categories=column.categories,
        min=column.min,
        max=column.max,
        baseline=column.baseline,
        nullable=column.nullable,
        unit=column.unit,
        is_range_known=column.is_range_known,
    )
