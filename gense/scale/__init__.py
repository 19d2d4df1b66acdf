"""Corpora of any size: jobs on Ray that lose nothing, their sources, sinks and manifests."""

from gense.scale.job import CorpusReport, enhance_corpus
from gense.scale.sources import list_items

__all__ = ["CorpusReport", "enhance_corpus", "list_items"]
