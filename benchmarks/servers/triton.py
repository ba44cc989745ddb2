"""The same model in Triton, by pytriton: `python triton.py PORT PROCESSES WIDTH`. It joins requests that wait.

Its dynamic batching asks for no delay. One thread a session, one session a process.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import onnxruntime as ort
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

ROWS_A_CALL = 32


class Model:
    """Loaded by each of the processes when it is first asked: a session does not survive a fork."""

    def __init__(self) -> None:
        self._session: Any = None

    @batch
    def infer(self, X: Any) -> dict[str, Any]:  # noqa: N803  (the input's name)
        if self._session is None:
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            options.inter_op_num_threads = 1
            self._session = ort.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])
        label, probabilities = self._session.run(["label", "probabilities"], {self._session.get_inputs()[0].name: X})
        return {"label": label.reshape(-1, 1), "probabilities": probabilities}


def main() -> None:
    port, processes, width = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    config = TritonConfig(http_address="127.0.0.1", http_port=port, allow_grpc=False, allow_metrics=False)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="bench",
            infer_func=[Model().infer for _ in range(processes)],
            inputs=[Tensor(name="X", dtype=np.float32, shape=(width,))],
            outputs=[
                Tensor(name="label", dtype=np.int64, shape=(1,)),
                Tensor(name="probabilities", dtype=np.float32, shape=(-1,)),
            ],
            config=ModelConfig(max_batch_size=ROWS_A_CALL, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()


if __name__ == "__main__":
    main()
