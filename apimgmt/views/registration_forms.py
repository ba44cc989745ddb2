"""The first step of registering a model: what is asked for, checked for form only."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from apimgmt.models import Workspace
from apimgmt.registry.drafts import Draft
from apimgmt.registry.metadata import MAX_METADATA_BYTES
from apimgmt.registry.registration import MAX_NAME_LENGTH
from apimgmt.registry.sample_table import MAX_SAMPLE_BYTES
from apimgmt.views.forms import StyledFields


class RegisterForm(StyledFields, forms.Form):
    """The upload. `kept` is a model file that an earlier try has brought already."""

    workspace = forms.ModelChoiceField(Workspace.objects.none(), label=_("Workspace"), empty_label=None)
    name = forms.CharField(
        label=_("Name"),
        max_length=MAX_NAME_LENGTH,
        help_text=_("Use the name of an existing model to make its next version."),
        widget=forms.TextInput(attrs={"list": "known-models", "autocomplete": "off"}),
    )
    file = forms.FileField(
        label=_("Model file"),
        allow_empty_file=True,  # an empty one is refused with the other files that are no model
        help_text=_(
            "ONNX, or one of the formats listed here. It is inspected in a separate process before anything is kept."
        ),
        error_messages={"required": _("Choose the model's file.")},
    )
    metadata = forms.FileField(
        label=_("Metadata file"),
        required=False,
        help_text=_("JSON: column names, types, classes, a sample row. The export script writes one."),
    )
    sample = forms.FileField(
        label=_("Sample CSV"),
        required=False,
        help_text=_("Real rows with a header. Columns, ranges and categories are learnt from it; it is not kept."),
    )
    target = forms.CharField(
        label=_("Target column"),
        max_length=200,
        required=False,
        help_text=_("The column of the sample that the model predicts."),
    )

    def __init__(self, *args: Any, workspaces: QuerySet[Workspace], kept: Draft | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["workspace"].queryset = workspaces  # type: ignore[attr-defined]  # a ModelChoiceField
        self.fields["file"].required = kept is None

    def clean_metadata(self) -> bytes | None:
        return self._content("metadata", MAX_METADATA_BYTES)

    def clean_sample(self) -> bytes | None:
        return self._content("sample", MAX_SAMPLE_BYTES)

    def _content(self, name: str, most_bytes: int) -> bytes | None:
        upload = self.cleaned_data.get(name)
        if not upload:
            return None
        if upload.size > most_bytes:
            raise forms.ValidationError(_("This file is too large for its kind."))
        return bytes(upload.read())
