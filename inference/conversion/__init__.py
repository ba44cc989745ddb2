"""Turns what is uploaded into the one ONNX file that is inspected, stored and served. Runs in the confined child."""
