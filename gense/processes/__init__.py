"""Paths between clean speech and a prior: three scalar functions of time each."""

from gense.processes.base import Coefficients, Estimate, PathField, Process
from gense.processes.bridge import BridgeVE, BridgeVP
from gense.processes.flow import LinearFlow, NoisyFlow
from gense.processes.ornstein_uhlenbeck import OrnsteinUhlenbeck
from gense.processes.precondition import Precondition

__all__ = [
    "BridgeVE",
    "BridgeVP",
    "Coefficients",
    "Estimate",
    "LinearFlow",
    "NoisyFlow",
    "OrnsteinUhlenbeck",
    "PathField",
    "Precondition",
    "Process",
]
