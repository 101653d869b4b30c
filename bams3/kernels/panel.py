"""Kernels of panels: calls to planes of bits, and bits counted."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np

from ..columns import Array
from ..variants import words_of
from .door import ERR_BAD_COLUMN, KernelError, address, call, out, u64


class Tally(NamedTuple):
    """What was met in the calls of a site.

    Half calls (some alleles missing, not all), samples with two different alleles of unknown phase, samples
    with three alleles or more, and the first of these.
    """

    half: int
    unphased: int
    polyploid: int
    culprit: int


class PlaneRows:
    """Planes of up to V variants of S samples that are filled row by row.

    Attributes
    ----------
    first, second, missing, haploid
        (V, W) uint64, as in variants.Planes.
    phased
        (W,) uint64. Of the calls that were packed last: samples with two different alleles of known phase.
    """

    def __init__(self, variants: int, samples: int) -> None:
        self._samples, words = samples, words_of(samples)
        self.first, self.second, self.missing, self.haploid = np.zeros((4, variants, words), np.uint64)
        self.phased = np.zeros(words, np.uint64)
        self._tally = out(4)

    def pack(self, row: int, calls: Array, n_alleles: int, alt: int) -> Tally:
        """Fill a row with one alternate allele of a site.

        Parameters
        ----------
        calls
            (S, P + 1) int16. P alleles of every sample (0: reference, -1: missing, -2: behind the last), and
            whether they are phased.
        n_alleles
            Of the site, the reference too.

        Raises
        ------
        KernelError
            ``bad-column``: a call names an allele that the site does not have; ``where`` is the sample.
        """
        if calls.ndim != 2 or len(calls) != self._samples:
            raise KernelError(ERR_BAD_COLUMN)
        address(calls, np.int16)
        rows = self.first[row], self.second[row], self.missing[row], self.haploid[row]
        numbers = ctypes.c_int32(n_alleles), ctypes.c_int32(alt)
        try:
            call(
                "bk_calls_pack",
                *(u64(self._samples), u64(calls.shape[1]), calls, *numbers, *rows, self.phased, self._tally),
            )
        except KernelError as err:
            raise KernelError(err.code, int(self._tally[3])) from None
        return Tally(*self._tally.tolist())


def count_bits(plane: Array) -> Array:
    """(V,) int64. Bits set in each row of a plane (V, W)."""
    address(plane, np.uint64)
    counts = np.zeros(len(plane), np.int64)
    call("bk_plane_counts", u64(len(plane)), u64(plane.shape[1]), plane, counts)
    return counts
