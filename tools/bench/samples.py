"""The models that devices are compared with, each with enough rows for the largest batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from tools.modelctl.scaffold.transformer.train import Encoder, Sizes

__all__ = ["SAMPLES", "Sample", "digits_cnn", "transformer"]

ROWS = 128


@dataclass(frozen=True)
class Sample:
    """A graph with one input, and rows for it."""

    name: str
    what: str
    model: ModelProto
    rows: NDArray[Any]


def digits_cnn() -> Sample:
    """Trained on the spot, by torch where it is there."""
    from models.digits_cnn.train import load, train  # noqa: PLC0415  # scikit-learn, which the others need not wait for

    images, digits = load()
    network = train(images, digits)
    return Sample("digits_cnn", f"28x28 images, trained by {network.framework}", network.to_onnx("digits_cnn"), images[:ROWS])


def transformer(sizes: Sizes) -> Sample:
    """Random weights and random tokens."""
    ids = np.random.default_rng(1).integers(0, sizes.vocabulary, (ROWS, sizes.tokens))
    what = f"a transformer, {sizes.layers} layers of {sizes.hidden}, {sizes.tokens} tokens, random weights"
    return Sample("transformer", what, Encoder(sizes).to_onnx("transformer"), ids)


SAMPLES: dict[str, Callable[[], Sample]] = {
    "digits_cnn": digits_cnn,
    "transformer": lambda: transformer(Sizes()),
    "transformer-large": lambda: transformer(Sizes(layers=24, hidden=1024, heads=16, inner=4096)),
    "transformer-small": lambda: transformer(Sizes(layers=2, hidden=128, heads=2, inner=512)),
}
"""By the name that the command line takes; `transformer` is of BERT base's size, `transformer-large` of BERT large's."""
