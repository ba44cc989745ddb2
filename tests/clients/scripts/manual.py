"""The manual's Python call: a CSV file in base64 in, two CSV files out, read with pandas."""

import base64
import io
import json
import sys

import pandas as pd
import requests

facts = json.load(sys.stdin)
csv = pd.DataFrame([facts["sample"]]).to_csv(index=False)
data = {
    "inputs": [
        {"name": "pr", "type": "csv", "data": base64.b64encode(csv.encode()).decode()},
        {"name": "ar", "type": "boolean", "data": True},
        {"name": "ad", "type": "boolean", "data": True},
        {"name": "nc", "type": "boolean", "data": False},
    ]
}
headers = {"content-type": "application/json", "x-api-key": facts["key"]}
reply = requests.post(f"{facts['base']}/predict", headers=headers, data=json.dumps(data), timeout=20)
document = reply.json()
found = {"status": reply.status_code, "version": document["version"]}
for output in document["outputs"]:
    table = pd.read_csv(io.BytesIO(base64.b64decode(output["data"])))
    found[output["name"]] = json.loads(table.to_json(orient="records"))[0]
    found[f"{output['name']} columns"] = list(table.columns)
native = requests.post(
    f"{facts['base']}/predict", headers=headers | {"content-type": "text/csv"}, data=csv.encode(), timeout=20
)
found["native"] = json.loads(pd.read_csv(io.BytesIO(native.content)).to_json(orient="records"))[0]
found["csv dialect"] = native.headers["x-csv-dialect"]
wrong = requests.post(f"{facts['base']}/predict", headers=headers, data=json.dumps({"inputs": []}), timeout=20)
found["wrong"] = [wrong.status_code, wrong.json()]
denied = requests.post(f"{facts['base']}/predict", headers={"x-api-key": "x"}, data="{}", timeout=20)
found["denied"] = [denied.status_code, denied.json()]
print(json.dumps(found))
