"""A custom inference runtime of MLServer's, as its documentation has one: opened in `load`, decoded and encoded by the NumPy codec."""

import os

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Tumour(MLModel):
    """Runs the graph at `MODEL`."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        feed = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        outputs = zip(self._names, self._session.run(self._names, feed), strict=True)
        encoded = [NumpyCodec.encode_output(name, values) for name, values in outputs]
        return InferenceResponse(model_name=self.name, model_version=self.version, id=payload.id, outputs=encoded)
