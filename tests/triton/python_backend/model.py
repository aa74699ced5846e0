"""Runs the `model.onnx` beside it with ONNX Runtime on the CPU: what Triton's own ONNX Runtime backend does, which the wheel lacks.

Runs in Triton's process, in an environment of its own; knows no more than the model's configuration.
"""

import json
import os

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]  # Triton brings it


class TritonPythonModel:
    """One instance of a model; a request whose run fails is answered with ONNX Runtime's message, and its neighbours are not."""

    def initialize(self, args):
        """Raises what ONNX Runtime raises for a file that it can't load, which Triton answers to the one who loads the model."""
        config = json.loads(args["model_config"])
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self._session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._scalars = {each.name for each in self._session.get_inputs() if not each.shape}
        self._outputs = {each["name"]: pb_utils.triton_string_to_numpy(each["data_type"]) for each in config["output"]}

    def execute(self, requests):
        """One response for each request, with the outputs that it asks for."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        names = request.requested_output_names()
        feed = {tensor.name(): self._to_onnx(tensor.name(), tensor.as_numpy()) for tensor in request.inputs()}
        try:
            arrays = self._session.run(names, feed)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions share no other base
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        made = [pb_utils.Tensor(name, _to_triton(array, self._outputs[name])) for name, array in zip(names, arrays, strict=True)]
        return pb_utils.InferenceResponse(made)

    def _to_onnx(self, name, array):
        """Triton's BYTES are bytes, ONNX's strings are text; a scalar is [1] to Triton."""
        if array.dtype == object:
            array = np.array([element.decode() for element in array.flat], dtype=object).reshape(array.shape)
        return array.reshape(()) if name in self._scalars else array


def _to_triton(array, dtype):
    array = array.reshape(array.shape or (1,))
    if array.dtype != object:
        return np.ascontiguousarray(array, dtype)
    return np.array([str(element).encode() for element in array.flat], dtype=object).reshape(array.shape)
