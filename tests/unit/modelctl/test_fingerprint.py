"""What a built model depends on, packages that may be missing among it."""

from importlib.metadata import PackageNotFoundError

import pytest

from models.config import MODELS
from tools.modelctl import fingerprint


def test_an_extra_that_comes_goes_or_changes_makes_a_model_be_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """digits_cnn is another network with torch than without."""

    def found(torch: str | None) -> str:
        def version(package: str) -> str:
            if package == "torch" and torch is None:
                raise PackageNotFoundError(package)
            return torch if package == "torch" and torch else "1.0"

        monkeypatch.setattr(fingerprint, "version", version)
        return fingerprint.fingerprint(MODELS / "digits_cnn")

    assert len({found(None), found("2.15.0"), found("2.16.0")}) == 3
    assert found(None) == found(None)
