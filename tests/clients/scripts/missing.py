"""A row with a missing number and a missing text, as each client writes what is missing."""

import asyncio
import base64
import io
import json
import sys

import httpx
import numpy as np
import pandas as pd
import requests
import tritonclient.http as triton
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from mlflow.utils.proto_json_utils import dump_input_data
from tritonclient.utils import InferenceServerException

facts = json.load(sys.stdin)
key = {"x-api-key": facts["key"]}
row = dict(facts["sample"])
for kind in ("float", "string"):
    names = [name for name in row if facts["types"][name] == kind]
    if names:
        row[names[-1]] = None
frame = pd.DataFrame([row])


def post(path, body, content_type="application/json"):
    headers = key | {"content-type": content_type}
    return requests.post(f"{facts['base']}/{path}", data=body, headers=headers, timeout=20)


def arrays():
    """Name, numpy array and datatype of each column; a missing number is NaN, a missing text is empty."""
    for name, value in row.items():
        if facts["types"][name] == "string":
            yield name, np.array(["" if value is None else value], np.object_), "BYTES"
        elif facts["types"][name] == "int":
            yield name, np.array([value], np.int64), "INT64"
        else:
            yield name, np.array([np.nan if value is None else value], np.float64), "FP64"


def by_triton(*, binary):
    made = []
    for name, array, datatype in arrays():
        tensor = triton.InferInput(name, [1], datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        made.append(tensor)
    client = triton.InferenceServerClient(f"{facts['host']}/apis/{facts['id']}")
    try:
        result = client.infer(facts["id"], made, headers=dict(key))
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return numbers(result.as_numpy(result.get_response()["outputs"][-1]["name"]))


def by_kserve(*, binary):
    tensors = []
    for name, array, datatype in arrays():
        tensor = InferInput(name, [1], datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        tensors.append(tensor)
    request = InferRequest(model_name=facts["id"], infer_inputs=tensors)
    client = InferenceRESTClient(RESTConfig(protocol="v2", verbose=False))
    try:
        reply = asyncio.run(client.infer(facts["base"], request, model_name=facts["id"], headers=dict(key)))
    except httpx.HTTPStatusError as error:
        return [error.response.status_code, str(error)]
    return numbers(reply.outputs[-1].as_numpy())


def numbers(array):
    return [float(cell) for cell in array.ravel()]


def of(reply, numbers_of):
    return numbers_of(reply) if reply.status_code == 200 else [reply.status_code, reply.json()]


def probabilities(prediction):
    return list(prediction["probabilities"].values()) if "class" in prediction else [prediction["value"]]


def cells(table):
    names = [name for name in table.columns if name.startswith("probability_")]
    return table.loc[0, names].tolist() if names else [float(table.loc[0, "prediction"])]


def by_manual():
    text = base64.b64encode(frame.to_csv(index=False).encode()).decode()
    inputs = [{"name": "pr", "type": "csv", "data": text}, {"name": "ar", "type": "boolean", "data": True}]
    inputs += [{"name": name, "type": "boolean", "data": name == "nc"} for name in ("ad", "nc")]

    def read(reply):
        tables = [pd.read_csv(io.BytesIO(base64.b64decode(one["data"]))) for one in reply.json()["outputs"]]
        return tables[0].iloc[0, 1:].tolist()

    return of(post("predict", json.dumps({"inputs": inputs})), read)


print(
    json.dumps(
        {
            "json": of(
                post("predict", json.dumps({"rows": [row]})),
                lambda reply: probabilities(reply.json()["predictions"][0]),
            ),
            "csv": of(
                post("predict", frame.to_csv(index=False), "text/csv"),
                lambda reply: cells(pd.read_csv(io.StringIO(reply.text))),
            ),
            "triton binary": by_triton(binary=True),
            "triton json": by_triton(binary=False),
            "kserve v2 binary": by_kserve(binary=True),
            "kserve v2 json": by_kserve(binary=False),
            "manual": by_manual(),
            "mlflow": of(post("invocations", dump_input_data(frame)), lambda reply: reply.json()["predictions"]),
            "mlflow csv": of(
                post("invocations", frame.to_csv(index=False), "text/csv"), lambda reply: reply.json()["predictions"]
            ),
            "kserve v1": of(
                post(f"v1/models/{facts['id']}:predict", json.dumps({"instances": [row]})),
                lambda reply: reply.json()["predictions"],
            ),
        }
    )
)
