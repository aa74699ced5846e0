"""Reports as a build writes them, with figures that a person can follow."""

from typing import Any

Document = dict[str, Any]


def classifier(**evaluation: Any) -> Document:
    """A tumour is malignant or benign; 143 rows held out, of which it has 136 right."""
    metrics = {"accuracy": 0.951, "precision": 0.9461, "recall": 0.9495, "f1": 0.9477, "roc_auc": 0.9913, "log_loss": 0.114}
    spread = {"accuracy": 0.034, "precision": 0.04, "recall": 0.038, "f1": 0.037, "roc_auc": 0.008, "log_loss": 0.05}
    curve = [[0, 0], [0, 0.62], [0.012, 0.84], [0.035, 0.93], [0.07, 0.965], [0.12, 0.98], [0.3, 1], [1, 1]]
    found: Document = {
        "data": {
            "rows": 569,
            "trained": 426,
            "held_out": 143,
            "held_out_sha256": "5f1c" * 16,
            "features": [{"name": f"input[{index}]", "kind": "number"} for index in range(30)],
            "classes": [{"name": "malignant", "trained": 155, "held_out": 57}, {"name": "benign", "trained": 271, "held_out": 86}],
        },
        "metrics": {name: _interval(value, spread[name]) for name, value in metrics.items()},
        "per_class": [
            {"name": "malignant", "precision": 0.917, "recall": 0.965, "f1": 0.94, "support": 57},
            {"name": "benign", "precision": 0.976, "recall": 0.942, "f1": 0.959, "support": 86},
        ],
        "confusion": {"names": ["malignant", "benign"], "counts": [[55, 2], [5, 81]]},
        "roc": [{"name": "malignant", "auc": 0.9913, "points": curve}],
        "calibration": {"error": 0.021, "bins": [_bin(said, was, rows) for said, was, rows in _STATED]},
        "slices": [
            {"column": column, "value": value, "rows": rows, "metrics": {"accuracy": share, "f1": share - 0.01}}
            for column, value, rows, share in _SLICES
        ],
        "importance": {
            "metric": "f1",
            "features": [{"name": f"input[{index}]", "mean": 0.09 / (index + 1), "deviation": 0.012} for index in range(10)],
        },
        **_costs(18_276),
    }
    gates = [("f1 >= 0.92", 0.9477, True), ("recall >= 0.92", 0.9495, True), ("precision >= 0.92", 0.9461, True)]
    return document("tumour", "classification", metrics, gates, found | evaluation, labels=["malignant", "benign"])


def uneven(**evaluation: Any) -> Document:
    """No row was answered `borderline`, and none that was held out is `unknown`: what has nothing to divide by is left out."""
    found = {
        "per_class": [
            {"name": "malignant", "precision": 0.9, "recall": 0.95, "f1": 0.92, "support": 57},
            {"name": "benign", "precision": 0.95, "recall": 0.98, "f1": 0.96, "support": 80},
            {"name": "borderline", "recall": 0.0, "f1": 0.0, "support": 6},
            {"name": "unknown", "support": 0},
        ],
        "confusion": {
            "names": ["malignant", "benign", "borderline", "unknown"],
            "counts": [[54, 3, 0, 0], [2, 78, 0, 0], [4, 2, 0, 0], [0, 0, 0, 0]],
        },
    }
    return classifier(**found | evaluation)


def regressor(**evaluation: Any) -> Document:
    """The price of a house, which is missed by 15,900 dollars in the mean."""
    metrics = {"mae": 15_913.2, "mse": 3.98e8, "rmse": 19_949.0, "r2": 0.9712, "error_p50": 13_420.0, "error_p90": 32_880.0}
    edges = [-60_000 + 8_000 * index for index in range(16)]
    found: Document = {
        "data": {
            "rows": 2000,
            "trained": 1500,
            "held_out": 500,
            "held_out_sha256": "ab12" * 16,
            "features": [{"name": name, "kind": "number"} for name in ("area", "rooms", "age")],
        },
        "metrics": {name: _interval(value, value * 0.05) for name, value in metrics.items() if name != "r2"}
        | {"r2": _interval(0.9712, 0.006)},
        "residuals": {
            "unit": "dollars",
            "quantiles": {"0.05": -32_100.0, "0.25": -13_300.0, "0.5": 310.0, "0.75": 13_900.0, "0.95": 33_000.0},
            "histogram": {"edges": edges, "counts": [1, 4, 10, 22, 41, 66, 84, 88, 72, 51, 33, 18, 7, 2, 1]},
            "by_prediction": [
                {
                    "predicted": 90_000.0 + 55_000 * index,
                    "low": -21_000.0 - 1_500 * index,
                    "median": 900.0 - 300 * index,
                    "high": 22_000.0 + 1_800 * index,
                    "rows": 50,
                }
                for index in range(10)
            ],
        },
        "importance": {
            "metric": "r2",
            "features": [
                {"name": "area", "mean": 1.61, "deviation": 0.06},
                {"name": "rooms", "mean": 0.08, "deviation": 0.01},
                {"name": "age", "mean": 0.02, "deviation": 0.004},
            ],
        },
        "cross_validation": {
            "folds": 5,
            "metrics": {"mae": {"mean": 16_100.0, "deviation": 410.0}, "r2": {"mean": 0.969, "deviation": 0.003}},
        },
        **_costs(290),
    }
    return document(
        "house_price", "regression", metrics, [("r2 >= 0.95", 0.9712, True), ("mae <= 15000", 15_913.2, False)], found | evaluation
    )


def clusters(**evaluation: Any) -> Document:
    """Three groups of wines."""
    metrics = {"silhouette": 0.283, "davies_bouldin": 1.39}
    found: Document = {
        "data": {
            "rows": 178,
            "trained": 133,
            "held_out": 45,
            "features": [{"name": f"input[{index}]", "kind": "number"} for index in range(13)],
        },
        "metrics": {"silhouette": _interval(0.283, 0.04), "davies_bouldin": _interval(1.39, 0.2)},
        "clusters": [
            {"name": name, "rows": rows, "silhouette": value} for name, rows, value in (("0", 16, 0.34), ("1", 17, 0.18), ("2", 12, 0.35))
        ],
        **_costs(1_126),
    }
    gates = [("silhouette >= 0.2", 0.283, True), ("davies_bouldin <= 1.7", 1.39, True)]
    return document("wine_segments", "clustering", metrics, gates, found | evaluation)


def one_cluster() -> Document:
    """All rows are answered the same, so that no metric is defined."""
    report = clusters(clusters=[{"name": "0", "rows": 45}])
    report["manifest"] |= {"metrics": {}, "gates": []}
    del report["evaluation"]["metrics"]
    return report


def compression() -> Document:
    """What `compress --method auto` measured."""
    tried = [
        ("parent", 407_503, 0.985, 210.0, True),
        ("static-int8", 109_200, 0.983, 96.0, True),
        ("dynamic-int8", 110_900, 0.979, 340.0, False),
        ("fp16", 204_800, 0.985, 260.0, True),
        ("prune", 231_000, 0.971, 190.0, False),
        ("optimize", 409_000, 0.985, 188.0, False),
    ]
    front = [
        {"method": method, "size": size, "metric": metric, "latency_us": latency, "load_ms": size / 60_000, "on_front": on, "note": ""}
        for method, size, metric, latency, on in tried
    ]
    return {
        "parent": "20261120T174100Z-1a2b3c4d",
        "method": "static-int8",
        "metric": "accuracy",
        "drop": 0.002,
        "limit": 0.01,
        "size_ratio": 0.268,
        "latency": {"1": 0.46, "32": 0.41, "256": 0.39},
        "load_ratio": 0.6,
        "slower": False,
        "front": front,
    }


def migration() -> Document:
    """What `migrate --check-targets` found."""
    targets = [("lambda", True, "onnxruntime 1.31.1, CPU"), ("triton", False, "onnxruntime 1.24 reads ai.onnx up to 25")]
    return {
        "parent": "20261120T174100Z-1a2b3c4d",
        "opset": [18, 26],
        "ir": [8, 13],
        "targets": [{"name": name, "ok": ok, "found": found} for name, ok, found in targets],
    }


def document(
    name: str,
    task: str,
    metrics: dict[str, float],
    gates: list[tuple[str, float, bool]],
    evaluation: Document,
    *,
    labels: list[str] | None = None,
) -> Document:
    """A report.json before it is published."""
    manifest: Document = {
        "name": name,
        "version": "",
        "created": "",
        "task": task,
        "files": [],
        "opset": {"": 18, "ai.onnx.ml": 1},
        "ir": 8,
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 30]}],
        "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1]}],
        "description": "What it answers, from which measurements. Made data.",
        "labels": labels or [],
        "metrics": metrics,
        "gates": [{"gate": gate, "value": value, "passed": passed} for gate, value, passed in gates],
        "parity": {"rows": 143, "disagreement": 0.0, "largest_difference": 2.1e-7, "passed": True},
        "lineage": {"framework": "scikit-learn 1.9.1", "source": "91923959a4a80bcc" * 4, "parent": None, "forced": None},
    }
    trial = {"load_seconds": 0.0046, "run_seconds": 0.000245, "peak_megabytes": 67, "answers_zeros": True}
    files = {"model.onnx": "f7471ca22529cf5f40012c9078bb9134a399240f5ed056e89ab876c5d2b7acc0"}
    return {"fingerprint": "91", "files": files, "trial": trial, "findings": [], "manifest": manifest, "evaluation": evaluation}


_STATED = [(0.05, 0.02, 3), (0.55, 0.5, 4), (0.65, 0.6, 5), (0.74, 0.83, 6), (0.86, 0.8, 15), (0.98, 0.99, 110)]
_SLICES = [
    ("hospital", "north", 41, 0.976),
    ("hospital", "south", 62, 0.952),
    ("hospital", "west", 40, 0.925),
    ("smoker", "True", 33, 0.909),
    ("smoker", "False", 110, 0.964),
]


def _interval(value: float, half: float) -> Document:
    return {"value": value, "low": value - half, "high": min(value + half * 0.8, 1.0) if value < 1 else value + half}


def _bin(predicted: float, observed: float, rows: int) -> Document:
    return {"predicted": predicted, "observed": observed, "rows": rows}


def _costs(size: int) -> Document:
    latency = [{"rows": rows, "p50_us": 11.0 + 0.9 * rows, "p90_us": 13.5 + 1.2 * rows} for rows in (1, 32, 256)]
    return {"latency": latency, "load_ms": 1.9, "size": size}
