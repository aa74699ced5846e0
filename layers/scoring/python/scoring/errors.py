"""What can be wrong with a data set as a whole; what is wrong with one row is told in errors.jsonl."""

from __future__ import annotations

__all__ = [
    "ColumnsMissing",
    "DataSetError",
    "FileChanged",
    "FileUnreadable",
    "NothingToScore",
    "OutputTaken",
    "PartsMissing",
    "PlanConflict",
    "UnsuitableModel",
]


class DataSetError(Exception):
    """Base of every error this library raises on purpose; its text is safe to show, and holds no more than names of files and columns."""


class NothingToScore(DataSetError):
    """No file at the path, or files of several formats."""


class FileUnreadable(DataSetError):
    """A file that is not of its suffix's format, is compressed as a whole, or has a row that is too large."""


class FileChanged(DataSetError):
    """A file is not the one that was planned for."""

    def __init__(self, path: str, found: str, expected: str) -> None:
        super().__init__(f"{path} has changed since the run was planned: found {found}, expected {expected}; start a new run")


class ColumnsMissing(DataSetError):
    """Columns that the model's inputs need are absent, ambiguous or of a type that can't be read."""


class OutputTaken(DataSetError):
    """The data has a column already that is named as an output would be."""

    def __init__(self, path: str, columns: list[str]) -> None:
        names = ", ".join(repr(column) for column in columns)
        super().__init__(f"{path} has a column {names} already, as the predictions would be called; give a prefix such as 'predicted_'")


class UnsuitableModel(DataSetError):
    """A model whose signature is not rows: another first dimension than any size, or a later one that is."""


class PlanConflict(DataSetError):
    """The place of work holds another run."""

    def __init__(self, work: str, difference: str) -> None:
        super().__init__(f"{work} holds another run, which differs in {difference}; give another output, or delete {work} to start anew")


class PartsMissing(DataSetError):
    """Some shards have no report of this plan, or no part."""
