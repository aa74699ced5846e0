"""Asks the server at sys.argv[1] with kserve's own client and the Authorization of sys.argv[2]; prints what it understood as JSON."""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput


async def main(url: str, authorization: str) -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    tumours = np.zeros((2, 30), np.float32)
    numbers = InferInput("input", [2, 30], "FP32", None)
    numbers.set_data_from_numpy(tumours, binary_data=True)
    plain = InferInput("input", [2, 30], "FP32", tumours.ravel().tolist())
    binary = InferRequest("tumour", [numbers], request_outputs=[RequestedOutput("probabilities", {"binary_data": True})])

    def headers() -> dict[str, str]:
        return {"Authorization": authorization}  # anew: the client writes the length of a binary request's header into it

    return {
        "live": await client.is_server_live(url, headers=headers()),
        "ready": await client.is_server_ready(url, headers=headers()),
        "model_ready": await client.is_model_ready(url, "tumour", headers=headers()),
        "json": _answer(await client.infer(url, InferRequest("tumour", [plain]), model_name="tumour", headers=headers())),
        "binary": _answer(await client.infer(url, binary, model_name="tumour", headers=headers())),
    }


def _answer(response: Any) -> dict[str, Any]:
    return {output.name: output.as_numpy().tolist() for output in response.outputs}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))))
