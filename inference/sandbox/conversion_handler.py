"""What a conversion child answers: files of other formats, turned into ONNX."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path

from inference.conversion.conversion import converted
from inference.sandbox.handler import Handler, handles
from inference.sandbox.inspection_messages import ConvertFile, FileConverted


class ConversionHandler(Handler):
    """A file's own library is imported when the file comes: together they would take seconds."""

    @staticmethod
    def import_libraries() -> None:
        """LightGBM's compiled part needs a library of the system's, which can't be read once the child is confined."""
        with suppress(OSError):  # where it is missing, only LightGBM is
            ctypes.CDLL("libgomp.so.1")

    @handles(ConvertFile)
    def convert_file(self, request: ConvertFile) -> FileConverted:
        content = converted(Path(request.path), request.kind, request.rows)
        with open(self.channel.files[0], "wb", closefd=False) as file:
            file.write(content)
        return FileConverted(len(content))
