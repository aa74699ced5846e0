"""A BentoML service, as its documentation has one: the model is opened when the service is made, an API takes and gives arrays."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service
class Tumour:
    """Runs the graph at `MODEL`."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])

    @bentoml.api
    def predict(self, rows: np.ndarray) -> dict[str, list]:
        label, probabilities = self._session.run(["label", "probabilities"], {"input": rows.astype(np.float32)})
        return {"label": label.tolist(), "probabilities": probabilities.tolist()}
