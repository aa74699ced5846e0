"""Where all frameworks are installed, one process has to bear them together."""

from importlib import import_module
from importlib.util import find_spec

# PyTorch's compiler and TensorFlow each bring LLVM: the process aborts where TensorFlow's is loaded first.
if find_spec("triton") and find_spec("tensorflow"):
    import_module("triton")
