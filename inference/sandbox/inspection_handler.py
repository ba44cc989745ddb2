"""What an inspection child answers: one file at a time, loaded once however much is asked about it."""

from __future__ import annotations

from pathlib import Path

from contract.model_spec import DEFAULT_FORMAT, ModelSpec
from inference.engines import engine_for
from inference.sandbox.handler import Handler, handles
from inference.sandbox.inspection_messages import (
    CheckDescription,
    DescriptionFits,
    FreezeMeaning,
    MeaningFrozen,
    ModelStudied,
    NullableColumns,
    ProbeNullable,
    ReadSignature,
    RowsTried,
    RunSelfTest,
    SelfTest,
    SignatureRead,
    StudyModel,
    TryRows,
)
from inference.sandbox.inspector import LoadedFile
from inference.sandbox.trial import Trial


class InspectionHandler(Handler):
    """What it raises are words for the file's owner."""

    _loaded: tuple[str, ModelSpec, LoadedFile] | None = None

    def _file(self, path: str, spec: ModelSpec) -> LoadedFile:
        if self._loaded is None or self._loaded[:2] != (path, spec):
            self._loaded = path, spec, LoadedFile(Path(path), spec)
        return self._loaded[2]

    @handles(ReadSignature)
    def read_signature(self, request: ReadSignature) -> SignatureRead:
        return SignatureRead(engine_for(DEFAULT_FORMAT).read_signature(Path(request.path)))

    @handles(CheckDescription)
    def check_description(self, request: CheckDescription) -> DescriptionFits:
        self._file(request.path, request.spec)
        return DescriptionFits()

    @handles(ProbeNullable)
    def probe_nullable(self, request: ProbeNullable) -> NullableColumns:
        file = self._file(request.path, request.spec)
        return NullableColumns(tuple(name for name in request.names if file.accepts_missing(name)))

    @handles(TryRows)
    def try_rows(self, request: TryRows) -> RowsTried:
        file = self._file(request.path, request.spec)
        return RowsTried(
            tuple(file.predictions(request.rows[: request.shown])), file.agreement(request.rows, request.targets)
        )

    @handles(RunSelfTest)
    def run_self_test(self, request: RunSelfTest) -> SelfTest:
        file = self._file(request.path, request.spec)
        file.predict_sample()
        return SelfTest(file.predictions([request.spec.sample])[0], file.row_us())


class RegistrationHandler(InspectionHandler):
    """Reads signatures and finds out what they mean, too: what that takes is slow to import, and no build needs it."""

    @handles(StudyModel)
    def study_model(self, request: StudyModel) -> ModelStudied:
        return Trial(Path(request.path), request.spec).study(request)

    @handles(FreezeMeaning)
    def freeze_meaning(self, request: FreezeMeaning) -> MeaningFrozen:
        return MeaningFrozen(Trial(Path(request.path), request.spec).frozen(request.signature))

    @staticmethod
    def import_libraries() -> None:
        engine_for(DEFAULT_FORMAT).import_libraries(for_reading=True)
