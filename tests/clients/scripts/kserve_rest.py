"""kserve's InferenceRESTClient, protocols v1 and v2."""

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

facts = json.load(sys.stdin)
KINDS = {"float": (np.float64, "FP64"), "int": (np.int64, "INT64"), "string": (np.object_, "BYTES")}
key = {"x-api-key": facts["key"]}


def request(*, binary):
    tensors = []
    for name, value in facts["sample"].items():
        dtype, datatype = KINDS[facts["types"][name]]
        tensor = InferInput(name, [1], datatype)
        tensor.set_data_from_numpy(np.array([value], dtype), binary_data=binary)
        tensors.append(tensor)
    return InferRequest(model_name=facts["id"], infer_inputs=tensors, request_id="k-1")


def outputs(reply):
    return {
        output.name: [cell.decode() if isinstance(cell, bytes) else cell for cell in output.as_numpy().ravel().tolist()]
        for output in reply.outputs
    }


async def main():
    base, name = facts["base"], facts["id"]
    v1 = InferenceRESTClient(RESTConfig(protocol="v1", verbose=False))
    v2 = InferenceRESTClient(RESTConfig(protocol="v2", verbose=False))
    rows = {"instances": [facts["sample"], list(facts["sample"].values())]}
    found = {
        "v1 live": await v1.is_server_live(base),
        "v1 ready": await v1.is_model_ready(base, name),
        "v1": await v1.infer(base, rows, model_name=name, headers=key),
        "explain": await v1.explain(base, name, rows, headers=key),
        "v2 live": await v2.is_server_live(base),
        "v2 server ready": await v2.is_server_ready(base),
        "v2 ready": await v2.is_model_ready(base, name),
        "v2": outputs(await v2.infer(base, request(binary=False), model_name=name, headers=dict(key))),
        "v2 binary": outputs(await v2.infer(base, request(binary=True), model_name=name, headers=dict(key))),
    }
    for what, call in {
        "v1 wrong": v1.infer(base, {"instances": [[1, "x"]]}, model_name=name, headers=key),
        "v2 wrong name": v2.infer(base, request(binary=False), model_name="nobody", headers=dict(key)),
    }.items():
        try:
            await call
        except httpx.HTTPStatusError as error:
            found[what] = str(error)
    print(json.dumps(found))


asyncio.run(main())
