"""Scores of sets of files: folders matched by name, in parallel, resumable, with statistics."""

from .result import Evaluation, FileScores
from .scoring import evaluate
from .statistics import Comparison, Interval, compare, interval, rate
from .table import read_csv, write_csv

__all__ = [
    "Comparison",
    "Evaluation",
    "FileScores",
    "Interval",
    "compare",
    "evaluate",
    "interval",
    "rate",
    "read_csv",
    "write_csv",
]
