"""The programs that are measured, as source: each runs in an interpreter of its own that sees the image's packages only."""

from __future__ import annotations

from tools.loopback.bootstrap import PROGRAM

__all__ = ["BARE", "CONTEXT", "FLOOR", "FUNCTION", "IMAGE", "MINIMAL", "OVERHEAD"]

FLOOR = """
import sys, json
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
body = json.loads(json.loads(sys.argv[2])["body"])["inputs"][0]
answer = session.run(None, {body["name"]: numpy.array(body["data"], "f").reshape(body["shape"])})
print(json.dumps([output.tolist() for output in answer]), flush=True)
"""
"""The least that Python can do: import ONNX Runtime, load the same file from the disk, run it once."""

FUNCTION = PROGRAM
"""The function as AWS starts it, with `bootstrap.arguments`: its handler behind Lambda's runtime client."""

_LEAN = """
def lean(event, context):
    sent = orjson.loads(event["body"])["inputs"][0]
    outputs = session.run([Tensor(sent["name"], "FP32", tuple(sent["shape"]), array("f", sent["data"]))], names, seconds=20)
    answer = [{"name": each.name, "datatype": each.datatype, "shape": each.shape, "data": to_list(each)} for each in outputs]
    body = orjson.dumps({"outputs": answer}).decode()
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": body, "isBase64Encoded": False}
"""
"""A handler that only parses, runs and encodes."""

MINIMAL = f"""
import sys, types
from array import array
import orjson
from modelserve.session import open_session
from modelserve.tensors import Tensor, to_list
session = open_session(sys.argv[1], name="minimal", threads=1, backend=sys.argv[2])
names = [output.name for output in session.outputs]
{_LEAN}
module = types.ModuleType("minimal")
module.handler = lean
sys.modules["minimal"] = module
from awslambdaric.__main__ import main
main(["awslambdaric", "minimal.handler"])
"""
"""It behind the same runtime client, on the same session: of a model's path, by a backend."""

CONTEXT = """
class Context:
    function_name = "bench"
    memory_limit_in_mb = "1769"
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:bench"
    aws_request_id = "00000000-0000-0000-0000-000000000001"

    def get_remaining_time_in_millis(self):
        return 29_000
"""
"""Lambda's, as a class."""

_HANDLER = (
    """
import json, os, sys, time
os.environ["_X_AMZN_TRACE_ID"] = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
from awslambdaric.bootstrap import Unbuffered
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient
# What a pipe would cost is not the handler's.
stdout, sys.stdout = os.fdopen(os.dup(1), "w"), Unbuffered(sys.stdout)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
from functions.predict import handler as module
"""
    + CONTEXT
    + """
handler, context, clock, results = module.handler, Context(), time.perf_counter_ns, []
"""
)

OVERHEAD = (
    _HANDLER
    + """
from array import array
import orjson
from modelserve.protocol import parse
from modelserve.tensors import Tensor, to_list
event, rounds, subject = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
answer = handler(event, context)
assert answer["statusCode"] == 200, answer
session = module._app._loader.find(None)
inputs, names = parse(event["body"].encode(), None).inputs, [output.name for output in session.outputs]
"""
    + _LEAN
    + """
called = {"handler": handler, "lean": lean}[subject]
for _ in range(rounds):
    begun = clock()
    session.run(inputs, names, seconds=20)
    ran = clock()
    called(event, context)
    results.append((ran - begun, clock() - ran))
print(json.dumps(results[rounds // 10 :]), file=stdout, flush=True)
"""
)
"""Turn by turn, nanoseconds of the session's run alone, and of the whole handler or of the lean one; the first tenth warms up."""

IMAGE = (
    _HANDLER
    + """
from array import array
import orjson
from modelserve.manifest import TensorSpec
from modelserve.protocol import parse
from modelserve.tensors import Tensor
rounds, shape = int(sys.argv[1]), (1, 3, 224, 224)

class Classifier:
    name, version, labels, platform = "image", "20261120T174100Z-1a2b3c4d", (), "none"
    inputs = (TensorSpec(name="x", datatype="FP32", shape=(-1, *shape[1:])),)
    outputs = (TensorSpec(name="y", datatype="FP32", shape=(-1, 1000)),)
    scores = array("f", [index / 1000 for index in range(1000)])

    def run(self, inputs, outputs, *, seconds):
        assert memoryview(inputs[0].data).nbytes == 602112
        return [Tensor("y", "FP32", (1, 1000), self.scores)]

model, path = Classifier(), f"/v2/models/{module._app._settings.model_name}/infer"
module._app._plane.find = lambda version: model
pixels = array("f", [index % 256 / 255 for index in range(150528)])

def event(body, length):
    import base64
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(length)}
    text = base64.b64encode(body).decode()
    return orjson.dumps({"httpMethod": "POST", "path": path, "headers": headers, "body": text, "isBase64Encoded": True})

item = {"name": "x", "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": 602112}}
header = orjson.dumps({"inputs": [item], "parameters": {"binary_data_output": True}})
received, marshaller = event(header + pixels.tobytes(), len(header)), LambdaRuntimeClient.marshaller
document = orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": [round(pixel, 4) for pixel in pixels]}]})
answer = handler(marshaller.unmarshal_request(received), context)
assert answer["statusCode"] == 200 and answer["isBase64Encoded"], answer
binary = []
for _ in range(rounds):
    begun = clock()
    unmarshalled = marshaller.unmarshal_request(received)
    between = clock()
    answer = handler(unmarshalled, context)
    answered = clock()
    marshaller.marshal_response(answer)
    binary.append((answered - between, clock() - begun))
for _ in range(rounds):
    ended = clock()
    loaded = orjson.loads(document)
    array("f", loaded["inputs"][0]["data"])
    fastest = clock()
    parse(document, None)
    parsed = clock()
    results.append((fastest - ended, parsed - fastest))
results = [(*whole, *parsed) for whole, parsed in zip(binary, results)]
print(json.dumps(results[rounds // 10 :]), file=stdout, flush=True)
"""
)
"""Nanoseconds of an image of 1x3x224x224, of a model that takes no time: binary in the handler and with what the runtime client does of it,
JSON by the fastest parser and by ours. One after the other: a function is sent one kind, and what JSON frees would be given back to the
system and asked for again by each binary call."""

BARE = """
import json, sys, time
import numpy, onnxruntime
from modelserve.session import open_session
from modelserve.tensors import Tensor
path, backend, sent, rounds = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])["inputs"][0], int(sys.argv[4])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
bare, ours = onnxruntime.InferenceSession(path, options), open_session(path, name="bare", threads=1, backend=backend)
values = numpy.array(sent["data"], "f").reshape(sent["shape"])
given, tensors = {sent["name"]: values}, [Tensor(sent["name"], "FP32", values.shape, values.tobytes())]
names, clock, results = [output.name for output in ours.outputs], time.perf_counter_ns, []
for _ in range(rounds):
    begun = clock()
    bare.run(names, given)
    between = clock()
    ours.run(tensors, names, seconds=20)
    results.append((between - begun, clock() - between))
print(json.dumps(results[rounds // 10 :]))
"""
"""Turn by turn, nanoseconds of the Python binding's own run on an array and of our session's on a tensor, each prepared."""
