"""The process that opens a stranger's model file: `python -m inference.sandbox.child WORK SOCKET PARENT CONFINEMENT`.

A fresh interpreter, started by `ChildProcess` alone. It gives up what it has no business with, says that it is ready,
and then does what it is asked for until its parent closes the socket or dies.
"""

from __future__ import annotations

import os
import socket
import sys
from importlib import import_module
from typing import Final, Literal

import msgspec

from inference.sandbox import limits
from inference.sandbox.channel import Channel
from inference.sandbox.confinement import Confinement, confine_before_imports, confine_before_work
from inference.sandbox.protocol import Ready

Work = Literal["inspection", "registration", "conversion", "prediction"]

# module and class of the Handler; its libraries are imported only once the process is confined
_HANDLERS: Final[dict[str, tuple[str, str]]] = {
    "inspection": ("inference.sandbox.inspection_handler", "InspectionHandler"),
    "registration": ("inference.sandbox.inspection_handler", "RegistrationHandler"),
    "conversion": ("inference.sandbox.conversion_handler", "ConversionHandler"),
    "prediction": ("inference.sandbox.prediction_handler", "PredictionHandler"),
}


def main(work: str, socket_fd: int, parent_pid: int, confinement: Confinement) -> None:
    """The process's life."""
    limits.die_with_parent()
    if os.getppid() != parent_pid:
        return  # it died before we could say that we die with it
    missing = confine_before_imports(confinement)
    module, name = _HANDLERS[work]
    handler_class = getattr(import_module(module), name)
    handler_class.import_libraries()
    missing += confine_before_work(confinement)
    channel = Channel(socket.socket(fileno=socket_fd))
    handler = handler_class(channel)
    channel.send(Ready(tuple(missing)))
    handler.serve()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), msgspec.json.decode(sys.argv[4], type=Confinement))
