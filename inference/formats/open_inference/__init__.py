"""Open Inference Protocol v2: the codec, and what its requests, outputs and pages are."""
