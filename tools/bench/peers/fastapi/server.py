"""A FastAPI application with typed bodies, as its documentation has one."""

import os
from typing import Annotated

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel, Field

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
app = FastAPI()


class Tumours(BaseModel):
    """Rows of 30 numbers."""

    rows: list[Annotated[list[float], Field(min_length=30, max_length=30)]]


class Prediction(BaseModel):
    """A label and the probabilities of both for each row."""

    label: list[int]
    probabilities: list[list[float]]


@app.post("/predict")
async def predict(tumours: Tumours) -> Prediction:
    """Runs the graph at `MODEL`."""
    label, probabilities = session.run(["label", "probabilities"], {"input": np.array(tumours.rows, np.float32)})
    return Prediction(label=label.tolist(), probabilities=probabilities.tolist())
