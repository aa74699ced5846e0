"""How a version is opened, in words."""

from __future__ import annotations

from modelserve.manifest import MODEL_FILE, Manifest
from tools.modelctl.loading.choice import PLAIN

__all__ = ["sentence"]


def sentence(manifest: Manifest) -> str:
    """Such as `opened as optimized, external: loads 15.4x as fast as plain ONNX, first answer 3.2x as fast, runs 1.03x as long`.

    Empty for a version that nobody measured.
    """
    load, figures = manifest.load, manifest.load_figures
    if not figures:
        return ""
    if load is None:
        ways = len(figures) - 1
        return f"opened as plain ONNX: {ways} other ways were measured, and none answers sooner by a fifth and runs as fast"
    name = next(iter(figures))
    taken, plain = figures[name], figures[PLAIN]
    said = []
    if name != PLAIN:
        answered = [found["load_ms"] + found["first_ms"] for found in (plain, taken)]
        said += [
            f"loads {plain['load_ms'] / taken['load_ms']:.1f}x as fast as plain ONNX",
            f"first answer {answered[0] / answered[1]:.1f}x as fast",
            f"runs {taken['steady_us'] / plain['steady_us']:.2f}x as long",
        ]
    if load.zstd:
        size, model = sum(file.size for file in load.files), next(file.size for file in manifest.files if file.path == MODEL_FILE)
        said.append(f"{model / size:.1f}x fewer bytes to download")
    return f"opened as {name}: {', '.join(said)}" + (f"; on {load.cpu}, elsewhere as plain ONNX" if load.cpu else "")
