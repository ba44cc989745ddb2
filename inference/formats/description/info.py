"""What descriptions are made from: one API, its request formats, and what each codec says of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from contract.model_spec import ModelSpec
from inference.answers import AnswerShape, answer_shape, can_explain
from inference.formats.description.schemas import Schema
from inference.predictor import Predictor


class ApiInfo(msgspec.Struct, frozen=True):
    """One API. `served` is given to pages that need the API to operate.

    `predictor` is given to them too, unless the model runs in a process of its own. `platform`: what runs it.
    """

    api_id: str
    name: str
    model_name: str
    version: str
    base_url: str
    is_ready: bool
    served: ModelSpec | None = None
    predictor: Predictor | None = None
    platform: str = ""

    @property
    def spec(self) -> ModelSpec:
        """What is served. Only for pages that aren't open."""
        assert self.served is not None  # noqa: S101  (the app gives it to every page that isn't open)
        return self.served


class FormatInfo(msgspec.Struct, frozen=True):
    """One request format, as lists of formats show it.

    `path` is below the API's base; "{model}" stands for the model's name. `body` and `answer` are its shapes in short,
    the answer's for what a model answers, or for any (None). `sample` makes a request with the model's sample row.
    `explains`: it gives nothing but reasons, which a model that answers with a class alone doesn't have.
    """

    anchor: str
    title: str
    path: str
    media_type: str
    body: str
    answer: Callable[[AnswerShape | None], str]
    sample: Callable[[ModelSpec], bytes]
    explains: bool = False

    def is_for(self, spec: ModelSpec) -> bool:
        """Whether the model can be asked in this format."""
        return not self.explains or can_explain(answer_shape(spec))


class Described(Protocol):
    """Paths of an API that belong together, as OpenAPI describes them.

    `tag` groups them in the document, with `summary` as the words for it; "" where they are in another's group.
    """

    tag: str
    summary: str

    def paths(self, name: str, version: str, spec: ModelSpec) -> dict[str, Schema]:
        """For a model of this name."""

    def schemas(self, spec: ModelSpec) -> dict[str, Schema]:
        """The schemas that the paths refer to, by name."""
