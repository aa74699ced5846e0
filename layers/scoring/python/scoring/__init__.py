"""Scores data sets: files of rows in, the same rows with predictions out, with constant memory."""

from .errors import (
    ColumnsMissing,
    DataSetError,
    FileChanged,
    FileUnreadable,
    NothingToScore,
    OutputTaken,
    PartsMissing,
    PlanConflict,
    UnsuitableModel,
)
from .finishing import finish
from .joining import join
from .keeping import kept
from .plan import SHARD_BYTES, File, Plan, Shard, Signature
from .planning import begin, plan
from .reports import Manifest, Part, ShardReport
from .shards import score

__all__ = [
    "SHARD_BYTES",
    "ColumnsMissing",
    "DataSetError",
    "File",
    "FileChanged",
    "FileUnreadable",
    "Manifest",
    "NothingToScore",
    "OutputTaken",
    "Part",
    "PartsMissing",
    "Plan",
    "PlanConflict",
    "Shard",
    "ShardReport",
    "Signature",
    "UnsuitableModel",
    "begin",
    "finish",
    "join",
    "kept",
    "plan",
    "score",
]
