"""tritonclient's HTTP client, in every way it can send and ask."""

import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

facts = json.load(sys.stdin)
KINDS = {
    "float": (np.float32, "FP32"),
    "int": (np.int64, "INT64"),
    "string": (np.object_, "BYTES"),
    "bool": (bool, "BOOL"),
}
key = {"x-api-key": facts["key"]}


def inputs(*, binary):
    made = []
    for name, value in facts["sample"].items():
        dtype, datatype = KINDS[facts["types"][name]]
        tensor = triton.InferInput(name, [2, 1], datatype)
        tensor.set_data_from_numpy(np.array([[value], [value]], dtype), binary_data=binary)
        made.append(tensor)
    return made


def plain(result):
    names = [output["name"] for output in result.get_response()["outputs"]]
    arrays = {name: result.as_numpy(name) for name in names}
    return {
        name: [cell.decode() if isinstance(cell, bytes) else float(cell) for cell in array.ravel()]
        for name, array in arrays.items()
    }


def infer(client, model=facts["id"], *, binary=True, headers=key, **options):
    return plain(client.infer(model, inputs(binary=binary), headers=headers, **options))


client = triton.InferenceServerClient(f"{facts['host']}/apis/{facts['id']}")
reused = dict(key)
found = {
    "live": client.is_server_live(headers=key),
    "ready": client.is_server_ready(headers=key),
    "model ready": client.is_model_ready(facts["id"], headers=key),
    "server": client.get_server_metadata(headers=key),
    "metadata": client.get_model_metadata(facts["id"], headers=key),
    "json": infer(client, binary=False),
    "binary": infer(client),
    "gzip": infer(client, request_compression_algorithm="gzip"),
    "deflate": infer(client, request_compression_algorithm="deflate"),
    "compressed json": infer(client, binary=False, request_compression_algorithm="gzip"),
    "answers compressed": infer(client, response_compression_algorithm="gzip"),
    "reused, gzip": infer(client, headers=reused, request_compression_algorithm="gzip"),
    "reused, plain": infer(client, headers=reused),
    "reused": sorted(reused),
    "version": infer(client, model_version="1"),
}
names = list(found["json"])
last = triton.InferRequestedOutput(names[-1], binary_data=False)
found["one output"] = infer(client, outputs=[last])
found["id"] = client.infer(facts["id"], inputs(binary=True), request_id="a-7", headers=key).get_response()["id"]
for what, arguments in {
    "wrong name": {"model": "nobody"},
    "wrong version": {"model_version": "99"},
    "wrong key": {"headers": {"x-api-key": "wrong"}},
}.items():
    try:
        infer(client, **arguments)
    except InferenceServerException as error:
        found[what] = [error.status(), error.message()]
print(json.dumps(found))
