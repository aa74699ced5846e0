"""Opens a pickle or joblib file with nothing but the classes that a fitted estimator consists of; any other name ends it before it is used.

A pickle is a program that may call whatever it names. So names come from a list, only classes and listed functions are called (no
instance, whatever its class makes of a call), and no class is changed. It runs in a process of its own all the same (see child).
"""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict, defaultdict
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler
from joblib.numpy_pickle_utils import _validate_fileobject_and_memmap
from sklearn.utils import Bunch

from tools.modelctl.errors import BuildFailed, first_line
from tools.modelctl.frameworks import extra

__all__ = ["load"]

_NAMES = {
    "builtins": {
        *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range", "set", "slice", "str"),
        "tuple",
    },
    "collections": {"OrderedDict", "defaultdict"},
    "copyreg": {"_reconstructor"},
    "numpy": {"dtype", "ndarray"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "numpy.ma": {"MaskedArray", "_mareconstruct"},
    "numpy.ma.core": {"MaskedArray", "_mareconstruct"},
    "numpy.random._generator": {"Generator"},
    "numpy.random._mt19937": {"MT19937"},
    "numpy.random._pcg64": {"PCG64"},
    "numpy.random._pickle": {"__bit_generator_ctor", "__generator_ctor", "__randomstate_ctor"},
    "numpy.random.bit_generator": {"SeedSequence", "__pyx_unpickle_SeedSequence"},
    "numpy.random.mtrand": {"RandomState"},
    "pandas": {"Index"},
    "pandas.core.indexes.base": {"Index", "_new_Index"},
    "scipy.sparse._coo": {"coo_array", "coo_matrix"},
    "scipy.sparse._csc": {"csc_array", "csc_matrix"},
    "scipy.sparse._csr": {"csr_array", "csr_matrix"},
    "sklearn.feature_selection._univariate_selection": {"chi2", "f_classif", "f_regression", "r_regression"},
    "sklearn.metrics._dist_metrics": {"newObj"},
    "sklearn.metrics._scorer": {"_PassthroughScorer"},
    "sklearn.neighbors._ball_tree": {"newObj"},
    "sklearn.neighbors._kd_tree": {"newObj"},
    "sklearn.utils._bunch": {"Bunch"},
    "xgboost.core": {"Booster"},
    "xgboost.sklearn": {"XGBClassifier", "XGBRFClassifier", "XGBRFRegressor", "XGBRanker", "XGBRegressor"},
    "lightgbm.basic": {"Booster"},
    "lightgbm.sklearn": {"LGBMClassifier", "LGBMRanker", "LGBMRegressor"},
}
"""Beside the numbers of numpy and the classes of `_ROOMS`: by module, exactly these."""
_MOVED = {
    "__builtin__": "builtins",
    "_loss": "sklearn._loss._loss",
    "copy_reg": "copyreg",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
    "scipy.sparse.csc": "scipy.sparse._csc",
    "scipy.sparse.csr": "scipy.sparse._csr",
}
"""What older releases call a module, or Cython."""
_ROOMS = re.compile(
    r"sklearn\.(_loss|base|calibration|cluster|compose|covariance|cross_decomposition|decomposition|discriminant_analysis|dummy|ensemble|"
    r"feature_extraction|feature_selection|gaussian_process|impute|isotonic|kernel_approximation|kernel_ridge|linear_model|manifold|"
    r"metrics\._dist_metrics|mixture|model_selection|multiclass|multioutput|naive_bayes|neighbors|neural_network|pipeline|preprocessing|"
    r"random_projection|semi_supervised|svm|tree)(\.(?!tests\b|conftest\b)\w+)*"
)
"""Modules of scikit-learn whose own classes may be named; not its tests, its loaders of data or what it re-exports."""
_EXTRAS = ("xgboost", "lightgbm")
_MAKERS = re.compile(r"__pyx_unpickle_\w+")
"""What Cython writes beside a class of `_ROOMS`, to make one that is empty."""


def load(path: Path) -> Any:
    """The object in a pickle or joblib file, compressed or not. Raises `BuildFailed` naming what is not on the list, or what is broken."""
    with path.open("rb") as file, _validate_fileobject_and_memmap(file, str(path), None) as (opened, _):
        if isinstance(opened, str):
            raise BuildFailed(
                f"{path.name} was written by joblib before 0.10; open it with that release and joblib.dump it with a newer one"
            )
        try:
            return _Unpickler(str(path), opened, ensure_native_byte_order=True).load()
        except (BuildFailed, MemoryError):
            raise
        except Exception as error:  # a damaged pickle raises whatever its next byte means
            told = first_line(error, named=bool(str(error)))
            raise BuildFailed(
                f"{path.name} is no whole pickle: {told:.200}; it is cut short or damaged, or was written "
                "by releases that don't fit the installed ones: copy it again, or write it again with joblib.dump"
            ) from error


class _Array(NumpyArrayWrapper):  # type: ignore[misc]
    """joblib's place holder of an array, whose objects are read by the same rules."""

    def read_array(self, unpickler: Any, ensure_native_byte_order: bool) -> Any:
        if self.dtype.hasobject:
            return _Unpickler(unpickler.filename, unpickler.file_handle, ensure_native_byte_order=ensure_native_byte_order).load()
        return super().read_array(unpickler, ensure_native_byte_order)


class _Unpickler(NumpyUnpickler):  # type: ignore[misc]
    """In Python, as joblib's is, so that each step can be held against the rules."""

    dispatch: ClassVar[dict[int, Any]] = dict(NumpyUnpickler.dispatch)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.named: dict[int, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        found = _find(_MOVED.get(module, module), name)
        self.named[id(found)] = found
        return found

    def load_reduce(self) -> None:
        """Calls what the pickle names, never what it made."""
        if id(self.stack[-2]) not in self.named:
            raise _unusual(f"calls an instance of {_called(self.stack[-2])}")
        super().load_reduce()

    def load_build(self) -> None:
        """Fills what the pickle made, never what it names, which others share; and no method of it."""
        state, built = self.stack[-1], self.stack[-2]
        if id(built) in self.named or isinstance(built, type):
            raise _unusual(f"changes {built.__module__}.{built.__qualname__}")
        parts = state if isinstance(state, tuple) else (state,)
        if any(str(key).startswith("__") for part in parts if isinstance(part, dict) for key in part):
            raise _unusual(f"changes a method of an instance of {_called(built)}")
        super().load_build()

    def load_unusual(self) -> None:
        raise _unusual("has an instruction that Python 3 doesn't write")


def _fills(opcode: bytes, kinds: tuple[type, ...], place: int) -> None:
    """Has the instruction fill only what is exactly of one of `kinds`: an instance may have an `append` of another kind."""
    usual = NumpyUnpickler.dispatch[opcode[0]]

    def step(unpickler: Any) -> None:
        filled = unpickler.stack[-place] if place else unpickler.metastack[-1][-1]
        if type(filled) not in kinds:
            raise _unusual(f"puts items into an instance of {_called(filled)}")
        usual(unpickler)

    _Unpickler.dispatch[opcode[0]] = step


_Unpickler.dispatch |= {pickle.REDUCE[0]: _Unpickler.load_reduce, pickle.BUILD[0]: _Unpickler.load_build}
_Unpickler.dispatch |= {code[0]: _Unpickler.load_unusual for code in (pickle.INST, pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4)}
_MAPS = (dict, OrderedDict, defaultdict, Bunch)
for _opcode, _kinds, _place in (
    *((pickle.APPEND, (list,), 2), (pickle.APPENDS, (list,), 0), (pickle.ADDITEMS, (set,), 0)),
    *((pickle.SETITEM, _MAPS, 3), (pickle.SETITEMS, _MAPS, 0)),
):
    _fills(_opcode, _kinds, _place)


def _find(module: str, name: str) -> Any:
    if (module, name) in _STAND_INS:
        return _STAND_INS[module, name]
    if not _is_listed(module, name):
        raise BuildFailed(
            f"the pickle names {module}.{name}, which is not among the classes that an estimator consists of, and was not opened further. "
            f"{_advice(module)}"
        )
    package = module.partition(".")[0]
    if package in _EXTRAS:
        extra(package, package)
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        raise BuildFailed(
            f"the pickle names {module}.{name}, which the installed {package} doesn't have; open it with the release that wrote it, "
            "and write it again with one that is nearer"
        ) from None
    if _ROOMS.fullmatch(module) and name not in _NAMES.get(module, ()) and not _is_own(found, name):
        raise BuildFailed(f"the pickle names {module}.{name}, which is no class of scikit-learn's own, and was not opened further")
    return found


def _is_listed(module: str, name: str) -> bool:
    if module == "numpy" and isinstance(kind := getattr(np, name, None), type) and issubclass(kind, np.generic):
        return True
    return name in _NAMES.get(module, ()) or (name.isidentifier() and _ROOMS.fullmatch(module) is not None)


def _is_own(found: Any, name: str) -> bool:
    """A function could be given arguments of the pickle's choice; a class that is imported there is another module's."""
    return _MAKERS.fullmatch(name) is not None or (isinstance(found, type) and _ROOMS.fullmatch(found.__module__) is not None)


def _encoded(text: str, encoding: str) -> bytes:
    """`_codecs.encode`, as old protocols write bytes; by name it would find any codec."""
    if encoding != "latin1":
        raise _unusual("writes bytes in another encoding than latin1")
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Any] = {("_codecs", "encode"): _encoded, ("joblib.numpy_pickle", "NumpyArrayWrapper"): _Array}


def _advice(module: str) -> str:
    if module.startswith(("sklearn.metrics", "scipy.stats")):
        return "Of a search, save what it has found: joblib.dump(search.best_estimator_, file)"
    if module.startswith(("torch", "keras", "tensorflow")):
        return "Save a network in its framework's own format: torch.save(network.state_dict(), file), or network.save('file.keras')"
    if module.startswith("pandas"):
        return "Name columns by a list, such as list(X.columns), fit again and save"
    return (
        "If you trust it, don't import it: build the model in a train.py (`modelctl new NAME`); a function of your own within a pipeline "
        "has no ONNX operator anyway"
    )


def _unusual(what: str) -> BuildFailed:
    return BuildFailed(
        f"the pickle {what}, which no estimator needs, and was not opened further; don't trust the file. Write the model again with "
        "joblib.dump(estimator, file), or train it in a train.py (`modelctl new NAME`)"
    )


def _called(instance: object) -> str:
    return f"{type(instance).__module__}.{type(instance).__qualname__}"
