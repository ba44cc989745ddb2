"""What people type, checked for form; what it means is the services' matter. Fields get their looks here, once."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from apimgmt.models import ApiType
from apimgmt.views.labels import CSV_CHARSET_WORD, SWITCH_WORDS
from contract.charsets import DEFAULTS

_CLASSES: dict[type[forms.Widget], str] = {
    forms.Textarea: "textarea",
    forms.Select: "select",
    forms.RadioSelect: "",
    forms.CheckboxInput: "",
    forms.HiddenInput: "",
}


_CHOOSE_TYPE = _("Choose Create API or Create trial API.")


class StyledFields:
    """Gives every field's widget the class of its kind (static/css/forms.css). Mix in before a Form."""

    fields: dict[str, forms.Field]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            widget: type[forms.Widget] = type(field.widget)
            kind = _CLASSES.get(widget, "input")
            if kind:
                field.widget.attrs.setdefault("class", kind)


class SignInForm(StyledFields, AuthenticationForm):
    """Django's own, in the console's looks."""

    error_messages = {
        "invalid_login": _("The user name or the password is wrong. Both are case-sensitive."),
        "inactive": _("This account is not active. An administrator can change that in the User Portal."),
    }


class LaunchForm(StyledFields, forms.Form):
    """The dialog Start API creation: which kind of API, and who may call it."""

    MINE, EVERYBODY, NOBODY = "mine", "everybody", "nobody"

    type = forms.ChoiceField(
        label=_("API type"),
        choices=[
            (ApiType.OFFICIAL.value, pgettext_lazy("API type to create", "Create API")),
            (ApiType.TRIAL.value, _("Create trial API")),
        ],
        error_messages={"required": _CHOOSE_TYPE, "invalid_choice": _CHOOSE_TYPE},
    )
    callers = forms.ChoiceField(
        label=_("Who may call it"),
        choices=[(MINE, _("My address")), (EVERYBODY, _("Everybody")), (NOBODY, _("Nobody yet"))],
        required=False,
    )

    def labels(self, field: str) -> dict[str, str]:
        """Value → label of a field's choices."""
        choices = self.fields[field].choices  # type: ignore[attr-defined]  # a ChoiceField
        return {value: str(label) for value, label in choices}


class WhitelistForm(StyledFields, forms.Form):
    """The text box of the whitelist dialog. Its lines are read by `apimgmt.access.whitelist`."""

    text = forms.CharField(
        label=_("Addresses or networks to allow"),
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "autocapitalize": "off", "autocomplete": "off"}),
        required=False,
        strip=False,
        help_text=_(
            "CIDR format, one a line: 192.0.2.7, 198.51.100.0/24, 2001:db8::/48. 0.0.0.0/0 allows all addresses."
        ),
    )
    note = forms.CharField(
        label=_("Note"), max_length=200, required=False, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )


class DescriptionForm(StyledFields, forms.Form):
    """Who learns of the API's columns: callers from refusals, everybody from the description; and how CSVs are read."""

    hides_schema = forms.BooleanField(
        label=SWITCH_WORDS["hides_schema"],
        required=False,
        help_text=_("Refusals tell the code and how many rows are wrong, but name no column and no value."),
    )
    has_public_description = forms.BooleanField(
        label=SWITCH_WORDS["has_public_description"],
        required=False,
        help_text=_(
            "The docs page and openapi.json, with all columns and an example row, need no key: "
            "only an address on the whitelist."
        ),
    )
    csv_charset = forms.ChoiceField(
        label=CSV_CHARSET_WORD,
        required=False,
        choices=[("", _("Recognised: UTF-8, UTF-16, Japanese cp932")), *((name, name) for name in DEFAULTS)],
        help_text=_("What a CSV is in that is no UTF-8, where its request names no charset."),
        error_messages={"invalid_choice": _("The charset %(value)s is not known.")},
    )


class OtherMeaningForm(StyledFields, forms.Form):
    """The tick before a version whose answers mean something else."""

    confirmed = forms.BooleanField(
        label=_("Callers are ready for these changes"),
        error_messages={"required": _("Nothing was changed: tick that callers are ready, or keep the version.")},
    )


class DeleteForm(StyledFields, forms.Form):
    """Deleting asks for the model's name."""

    name = forms.CharField(
        required=False, strip=True, widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    )

    def __init__(self, *args: Any, model_name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model_name = model_name
        self.fields["name"].label = _("Type the model's name, %(name)s, to delete its API") % {"name": model_name}

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name != self.model_name:
            raise forms.ValidationError(
                _("That is not the model's name. Nothing was deleted; type %(name)s.") % {"name": self.model_name}
            )
        return name
