"""What runs during a request: the Open Inference Protocol, the model store and ONNX Runtime, without any transport."""

import os

# Since 1.29 the official builds of ONNX Runtime tell Microsoft of each process and each model, unless this stands before their import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
