"""Paths between clean speech and a prior: three scalar functions of time each."""

from gense.processes.base import Coefficients, Estimate, PathField, Process
from gense.processes.flow import LinearFlow, NoisyFlow
from gense.processes.ornstein_uhlenbeck import OrnsteinUhlenbeck

__all__ = ["Coefficients", "Estimate", "LinearFlow", "NoisyFlow", "OrnsteinUhlenbeck", "PathField", "Process"]
