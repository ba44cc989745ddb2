"""MLflow's own serialisers and deserialiser, sent by requests."""

import json
import sys

import numpy as np
import pandas as pd
import requests
from mlflow.deployments import PredictionsResponse
from mlflow.utils.proto_json_utils import dump_input_data

facts = json.load(sys.stdin)
frame = pd.DataFrame([facts["sample"], facts["sample"]])
missing = frame.copy()
missing.iloc[1, 1] = np.nan
headers = {"x-api-key": facts["key"], "Content-Type": "application/json"}


def sent(body, content_type="application/json"):
    reply = requests.post(
        f"{facts['base']}/invocations", data=body, headers=headers | {"Content-Type": content_type}, timeout=20
    )
    if reply.status_code != 200:
        return [reply.status_code, reply.json()]
    return PredictionsResponse.from_json(reply.text).get_predictions().iloc[:, 0].tolist()


found = {
    "split": sent(dump_input_data(frame)),
    "with NaN": sent(dump_input_data(missing)),
    "records": sent(json.dumps({"dataframe_records": json.loads(frame.to_json(orient="records"))})),
    "pandas split": sent(json.dumps({"dataframe_split": json.loads(frame.to_json(orient="split"))})),
    "inputs": sent(dump_input_data(frame.astype(object).to_numpy(), inputs_key="inputs")),
    "instances": sent(dump_input_data(frame.astype(object).to_numpy().tolist(), inputs_key="instances")),
    "by column": sent(json.dumps({"inputs": frame.to_dict(orient="list")})),
    "with params": sent(dump_input_data(frame, params={"any": 1})),
    "csv": sent(frame.to_csv(index=False), "text/csv"),
    "two at once": sent(json.dumps({"inputs": [[1]], "instances": [[1]]})),
    "other type": sent("{}", "text/plain"),
    "ping": requests.get(f"{facts['base']}/ping", timeout=20).status_code,
    "health": requests.get(f"{facts['base']}/health", timeout=20).text,
    "version": requests.get(f"{facts['base']}/version", headers=headers, timeout=20).text,
}
print(json.dumps(found))
