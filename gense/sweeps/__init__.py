"""Sweeps: methods, samplers, schedules, steps and options over a set of recordings, with quality and cost.

The rows go into a table, of which `Sweep` holds the means, the Pareto fronts and the recommended settings.
"""

from .result import Cell, CellResult, Sweep
from .run import sweep
from .table import read_sweep

__all__ = ["Cell", "CellResult", "Sweep", "read_sweep", "sweep"]
