"""Runs a model on whatever ONNX Runtime is installed where this file is run: by itself, in an environment that has nothing else.

Arguments: the model, an archive of its inputs, where to write the archive of its answers, and the execution providers. Text is of
numpy's type U in both, since arrays of objects would be pickles.
"""

import json
import sys

import numpy as np
import onnxruntime


def main(model: str, inputs: str, answers: str, *providers: str) -> None:
    """Says which runtime it is first, and then why the model can't be run, or nothing."""
    print(json.dumps({"runtime": onnxruntime.__version__, "providers": onnxruntime.get_available_providers()}), flush=True)
    try:
        session = onnxruntime.InferenceSession(model, providers=list(providers))
        names = [output.name for output in session.get_outputs()]
        with np.load(inputs, allow_pickle=False) as archive:
            fed = {name: values.astype(object) if values.dtype.kind == "U" else values for name, values in archive.items()}
        found = dict(zip(names, session.run(names, fed)))  # noqa: B905 - as many by the runtime's own promise
        np.savez(answers, **{name: values.astype("U") if values.dtype == object else values for name, values in found.items()})
    except Exception as error:  # noqa: BLE001 - the runtime's own have no common base
        print(json.dumps({"failed": f"{type(error).__name__}: {error}"}))


if __name__ == "__main__":
    main(*sys.argv[1:])
