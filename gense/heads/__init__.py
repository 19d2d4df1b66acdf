"""Compositions of networks that can be trained and can generate."""

from gense.heads.base import Head
from gense.heads.path import PathHead

__all__ = ["Head", "PathHead"]
