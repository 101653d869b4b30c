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


_TALLIES = len(Tally._fields)

BCF_RECORD = np.dtype(
    [
        *((name, np.uint64) for name in ("id_at", "alleles_at", "gt_at", "ps_at")),
        *(
            (name, np.uint32)
            for name in ("id_len", "n_alleles", "gt_type", "gt_count", "ps_type", "ps_count")
        ),
        *((name, np.int32) for name in ("contig", "pos")),
    ]
)
"""Where a record of BCF has what: struct bk_bcf_record of native/bcf.c."""

_BCF_CALLS = np.dtype(
    [("at", np.uint64), ("type", np.uint32), ("n", np.uint32), ("n_alleles", np.int32), ("alt", np.int32)]
)


class PlaneRows:
    """Planes of up to V variants of S samples, zero until they are filled, row by row.

    Attributes
    ----------
    first, second, missing, haploid
        (V, W) uint64, as in variants.Planes.
    phased
        (V, W) uint64. Samples with two different alleles of known phase.
    """

    def __init__(self, variants: int, samples: int) -> None:
        self._samples, words = samples, words_of(samples)
        planes = np.zeros((5, variants, words), np.uint64)
        self.first, self.second, self.missing, self.haploid, self.phased = planes

    def _rows(self, rows: slice) -> tuple[Array, ...]:
        planes = self.first, self.second, self.missing, self.haploid, self.phased
        return tuple(plane[rows] for plane in planes)

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
        numbers, tally = (ctypes.c_int32(n_alleles), ctypes.c_int32(alt)), out(_TALLIES)
        rows = self._rows(slice(row, row + 1))
        try:
            call(
                "bk_calls_pack",
                *(u64(self._samples), u64(calls.shape[1]), calls, *numbers, *rows, tally),
            )
        except KernelError as err:
            raise KernelError(err.code, int(tally[3])) from None
        return Tally(*tally.tolist())

    def pack_bcf(
        self, row: int, data: Array, n_all: int, records: Array, alts: Array, samples: Array | None
    ) -> Array:
        """Fill rows from ``row`` on, each with one alternate allele of a record of BCF.

        Parameters
        ----------
        data
            uint8. The bytes that the records were found in.
        n_all
            Samples of the file.
        records, alts
            (N,) BCF_RECORD and int32. The record of each row, and which of its alleles.
        samples
            (S,) uint32. Which samples of the file are those of the planes, ascending; None: all.

        Returns
        -------
        (N, 4) uint64. A Tally each.

        Raises
        ------
        KernelError
            ``bad-column``: a call names an allele that the site does not have; ``where`` is its row, from 0.
        """
        calls = np.empty(len(records), _BCF_CALLS)
        for name, theirs in (("at", "gt_at"), ("type", "gt_type"), ("n", "gt_count"), ("n_alleles",) * 2):
            calls[name] = records[theirs]
        calls["alt"] = alts
        size = calls["n"].astype(np.uint64) << (np.maximum(calls["type"], 1) - 1).astype(np.uint64)
        wanted = n_all if samples is None else samples.size
        if samples is not None and samples.size and int(samples.max()) >= n_all:
            raise KernelError(ERR_BAD_COLUMN)
        if (
            wanted != self._samples
            or row + len(records) > len(self.first)
            or (calls["type"] > 3).any()
            or ((calls["at"] + size * np.uint64(n_all))[calls["n"] > 0] > data.size).any()
        ):
            raise KernelError(ERR_BAD_COLUMN)
        tallies, rows = np.zeros((len(records), _TALLIES), np.uint64), slice(row, row + len(records))
        address(data, np.uint8)
        chosen = None if samples is None else np.ascontiguousarray(samples, np.uint32)
        call(
            "bk_bcf_pack",
            *(data, u64(len(records)), calls, chosen, u64(wanted), *self._rows(rows), tallies),
            where=out(),
        )
        return tallies


def scan_bcf(
    data: Array, n_samples: int, n_contigs: int, gt_key: int, ps_key: int, max_records: int
) -> tuple[Array, int]:
    """The whole records of BCF at the start of some bytes (BCF_RECORD), and how many bytes they take.

    Parameters
    ----------
    gt_key, ps_key
        Numbers of these keys in the file's dictionary; -1: it has none.

    Raises
    ------
    KernelError
        ``bad-record``, ``bad-tag``, ``bad-column``: ``where`` is the byte at which the record begins.
    """
    address(data, np.uint8)
    records, n_records, used = np.empty(max_records, BCF_RECORD), out(), out()
    call(
        "bk_bcf_scan",
        *(data, u64(data.size), ctypes.c_uint32(n_samples), ctypes.c_uint32(n_contigs)),
        *(ctypes.c_int32(gt_key), ctypes.c_int32(ps_key), u64(max_records), records, n_records, used),
        where=out(),
    )
    return records[: int(n_records[0])], int(used[0])


def count_bits(plane: Array) -> Array:
    """(V,) int64. Bits set in each row of a plane (V, W)."""
    address(plane, np.uint64)
    counts = np.zeros(len(plane), np.int64)
    call("bk_plane_counts", u64(len(plane)), u64(plane.shape[1]), plane, counts)
    return counts
