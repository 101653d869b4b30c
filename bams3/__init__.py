"""Alignments as independent, columnar, checksummed chunks, for cohorts in Snakemake and Nextflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["__version__", "open"]

if TYPE_CHECKING:
    from pathlib import Path

    from .query import StoreReader


def open(path: str | Path) -> StoreReader:
    """A store, open for questions: ``.count(region)``, ``.fetch(region)``, ``.header``, ``.contigs``.

    Raises
    ------
    InputError
        ``not-a-store``: there is no manifest.
    """
    from .query import open_store  # importing bams3 costs nothing until a store is opened

    return open_store(str(path))
