"""Networks of PyTorch and Keras, trained for a moment: what is compared is the graph, not what it has learned."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.config import ParityConfig
from tests.conversions import rows
from tests.conversions.case import Case

__all__ = ["CASES", "FAILURES"]

_NETWORK = ParityConfig(tolerance=1e-3)
"""Both compute in float32, and sum in another order."""


def _numbers() -> rows.Rows:
    X, y = rows.digits()
    return X.astype(np.float32), y


def _dense(X: Any, y: Any) -> Any:
    import torch

    torch.manual_seed(0)
    return _steps(torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)), X, y)


def _convolutional(X: Any, y: Any) -> Any:
    import torch

    torch.manual_seed(0)
    layers = (torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
    return _steps(torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Dropout(0.2), torch.nn.Linear(128, 10)), X, y)


def _script(X: Any, y: Any) -> Any:
    import torch

    return torch.jit.trace(_recurrent(X, y).eval(), torch.zeros(2, 64))


def _recurrent(X: Any, y: Any) -> Any:
    import torch

    class Recurrent(torch.nn.Module):  # type: ignore[misc] # an extra, untyped
        """Reads an image row by row."""

        def __init__(self) -> None:
            super().__init__()
            self.cells = torch.nn.LSTM(8, 16, batch_first=True)
            self.head = torch.nn.Linear(16, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.cells(x.reshape(-1, 8, 8))[0][:, -1])

    torch.manual_seed(0)
    return _steps(Recurrent(), X, y)


def _steps(net: Any, X: Any, y: Any) -> Any:
    import torch

    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    inputs, labels = torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(inputs), labels).backward()
        optimizer.step()
    return net


def _bessel(X: Any, y: Any) -> Any:
    import torch

    class Bessel(torch.nn.Module):  # type: ignore[misc] # an extra, untyped
        def forward(self, x: Any) -> Any:
            return torch.special.bessel_j0(x)[:, :10]

    return torch.jit.trace(Bessel(), torch.zeros(2, 64))


def _keras_dense(X: Any, y: Any) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    return _keras(keras.Sequential([keras.Input((64,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(10, "softmax")]), X, y)


def _keras_convolutional(X: Any, y: Any) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((1, 8, 8))
    seen = keras.layers.Permute((2, 3, 1))(image)
    seen = keras.layers.Conv2D(8, 3, activation="relu")(seen)
    seen = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(seen))
    return _keras(keras.Model(image, keras.layers.Dense(10, "softmax")(seen)), X, y)


def _keras(net: Any, X: Any, y: Any) -> Any:
    net.compile("adam", "sparse_categorical_crossentropy")
    net.fit(X, y, epochs=1, batch_size=256, verbose=0)
    return net


def _keras_bessel(X: Any, y: Any) -> Any:
    import keras
    import tensorflow

    class Bessel(keras.layers.Layer):  # type: ignore[misc] # an extra, untyped
        def call(self, x: Any) -> Any:
            return tensorflow.math.bessel_i0(x)[:, :10]

    net = keras.Sequential([keras.Input((64,)), Bessel()])
    net(np.zeros((1, 64), np.float32))
    return net


def _case(name: str, needs: str, data: Any, train: Any, refused: str = "") -> Case:
    return Case(name=name, task="classification", rows=data, train=train, needs=needs, allowed=_NETWORK, refused=refused)


CASES = (
    _case("PyTorch, dense", "torch", _numbers, _dense),
    _case("PyTorch, convolutional", "torch", rows.images, _convolutional),
    _case("PyTorch, LSTM as TorchScript", "torch", _numbers, _script),
    _case("Keras, dense", "keras", _numbers, _keras_dense),
    _case("Keras, convolutional", "keras", rows.images, _keras_convolutional),
)
FAILURES = (
    _case("PyTorch, a Bessel function", "torch", _numbers, _bessel, refused="the operator aten::special_bessel_j0 of PyTorch"),
    _case("Keras, a Bessel function", "keras", _numbers, _keras_bessel, refused="no operator BesselI0"),
)
