"""Compositions of networks that can be trained and can generate."""

from gense.heads.base import Head
from gense.heads.cascade import Cascade
from gense.heads.masked_lm import Given, MaskedTokenHead
from gense.heads.mean_flow import MeanFlowHead
from gense.heads.path import PathHead
from gense.heads.regression import RegressionHead
from gense.heads.token_lm import Segment, TokenLMHead

__all__ = [
    "Cascade", "Given", "Head", "MaskedTokenHead", "MeanFlowHead", "PathHead", "RegressionHead", "Segment",
    "TokenLMHead",
]  # fmt: skip
