"""Reports that are one HTML file: figures, plots and players, opened from disk without any network."""

from gense.report.evaluation import write_evaluation_report
from gense.report.sweep import write_sweep_report

__all__ = ["write_evaluation_report", "write_sweep_report"]
