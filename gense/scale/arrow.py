"""pyarrow, where it is installed."""

from __future__ import annotations

from typing import Any


def pyarrow() -> Any:
    """The package `pyarrow`, with `parquet` and `compute` loaded.

    Raises:
        ImportError: it is not installed; says how to install it.
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError("pyarrow is not installed: pip install gense[scale]") from error
    return pyarrow
