"""The programs that are measured, as source: each runs in an interpreter of its own that sees the image's packages only."""

from __future__ import annotations

__all__ = ["FLOOR", "FUNCTION", "OVERHEAD"]

FLOOR = """
import sys, json
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
body = json.loads(json.loads(sys.argv[2])["body"])["inputs"][0]
answer = session.run(None, {body["name"]: numpy.array(body["data"], "f").reshape(body["shape"])})
print(json.dumps([output.tolist() for output in answer]), flush=True)
"""
"""The least that Python can do: import ONNX Runtime, load the same file from the disk, run it once."""

FUNCTION = """
import sys
from awslambdaric.__main__ import main
main(["awslambdaric", "functions.predict.handler.handler"])
"""
"""The function as AWS starts it: its handler behind Lambda's runtime client."""

OVERHEAD = """
import json, sys, time
stdout, sys.stdout = sys.stdout, open("/dev/null", "w")  # what a pipe would cost is not the handler's
import numpy
from functions.predict import handler as module

class Context:
    function_name = "bench"
    memory_limit_in_mb = "1769"
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:bench"
    aws_request_id = "00000000-0000-0000-0000-000000000001"

    def get_remaining_time_in_millis(self):
        return 29_000

event, rounds = json.loads(sys.argv[1]), int(sys.argv[2])
answer, context = module.handler(event, Context()), Context()
assert answer["statusCode"] == 200, answer
session = module._app._loader.find(None).run.__self__._session
tensor = json.loads(event["body"])["inputs"][0]
feed = {tensor["name"]: numpy.array(tensor["data"], "f").reshape(tensor["shape"])}
names = [output.name for output in session.get_outputs()]
handler, clock, results = module.handler, time.perf_counter_ns, []
for _ in range(rounds):
    begun = clock()
    session.run(names, feed)
    between = clock()
    handler(event, context)
    results.append((between - begun, clock() - between))
print(json.dumps(results[rounds // 10 :]), file=stdout, flush=True)
"""
"""Turn by turn, nanoseconds of the bare run and of the whole handler; the first tenth warms up."""
