"""Alignments as independent, columnar, checksummed chunks, for cohorts in Snakemake and Nextflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["__version__", "open"]

if TYPE_CHECKING:
    from pathlib import Path

    from .query import StoreReader


def open(
    path: str | Path,
    *,
    endpoint_url: str | None = None,
    profile: str | None = None,
    region: str | None = None,
    anonymous: bool = False,
) -> StoreReader:
    """A store, open for questions: ``.count(region)``, ``.fetch(region)``, ``.header``, ``.contigs``.

    Parameters
    ----------
    path
        A folder, or ``s3://BUCKET/KEY``.
    endpoint_url, profile, region, anonymous
        How S3 is reached, where that is not as the AWS CLI would (S3Options).

    Raises
    ------
    InputError
        ``not-a-store``: there is no manifest; those of store_at.
    """
    from .query import open_store  # importing bams3 costs nothing until a store is opened
    from .store import S3Options

    return open_store(str(path), S3Options(endpoint_url, profile, region, anonymous))
