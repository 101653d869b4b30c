"""Who has one allele of a chromosome: males of X and Y, everybody of MT, as PLINK has it.

PLINK stores such calls as homozygous. It treats heterozygous ones, and those of samples that are not male on
Y, as missing; who is of unknown sex counts as not male. All of X is outside the pseudo-autosomal regions,
which are the chromosome XY. (PLINK 1.9, "Haploid and mixed"; C. Chang, plink2-users, 21 November 2014.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..columns import Array
from ..variants import words_of
from .calls import Counts

_CHROMOSOMES = {"x": "X", "23": "X", "y": "Y", "24": "Y", "mt": "MT", "m": "MT", "26": "MT"}


def chromosome(contig: str) -> str:
    """X, Y or MT, or nothing for those that all have two of."""
    return _CHROMOSOMES.get(contig.lower().removeprefix("chr"), "")


class Ploidy:
    """The sexes of S samples, and what follows for their calls.

    Parameters
    ----------
    male
        (S,) bool. Who is known to be male.
    counts
        Where calls that become missing are counted.
    """

    def __init__(self, male: Sequence[bool], counts: Counts) -> None:
        self._male, self._counts = np.array(male, bool), counts
        self._everybody = np.ones(len(self._male), bool)

    def mend(self, contig: str, codes: Array, missing: int, het: int) -> Array | None:
        """Make calls missing that cannot be; who has one allele (S,), None where nobody has.

        Parameters
        ----------
        codes
            (V, S) uint8. Of one contig; changed in place.
        missing, het
            The codes of these calls.
        """
        kind = chromosome(contig)
        if not kind:
            return None
        if kind == "Y":
            wrong = (codes != missing) & ~self._male
            self._counts.nonmale_y += int(np.count_nonzero(wrong))
            codes[wrong] = missing
        haploid = self._everybody if kind == "MT" else self._male
        wrong = (codes == het) & haploid
        self._counts.het_haploid += int(np.count_nonzero(wrong))
        codes[wrong] = missing
        return haploid


def pack_bits(flags: Array) -> Array:
    """(V, W) uint64. Bits of flags (V, S)."""
    words = np.zeros((len(flags), words_of(flags.shape[1])), np.uint64)
    packed = np.packbits(flags, axis=1, bitorder="little")
    words.view(np.uint8)[:, : packed.shape[1]] = packed
    return words
