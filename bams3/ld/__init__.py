"""Linkage disequilibrium of the variants of a panel: tiles of all pairs, and questions."""

from .ask import R2Matrix, r2_matrix

__all__ = ["R2Matrix", "r2_matrix"]
