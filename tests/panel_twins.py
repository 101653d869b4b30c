"""Slow twins of the kernels of panels: one call at a time, one bit at a time."""

import numpy as np

from bams3.variants import words_of

ENDS = {1: -(1 << 7), 2: -(1 << 15), 3: -(1 << 31)}


def alleles_of_values(values, kind):
    """(alleles up to the end, -1 unknown; whether the second is phased) of a sample's values in BCF."""
    alleles = []
    for value in values:
        if value == ENDS[kind] + 1:
            break
        alleles.append(-1 if value == ENDS[kind] else (value >> 1) - 1)
    return alleles, len(alleles) > 1 and values[1] & 1


def row_of(people, alt):
    """Rows first, second, missing, haploid, phased, and the tally, of the (alleles, is phased) of samples."""
    bits = np.zeros((5, words_of(len(people)) * 64), bool)
    half = unphased = polyploid = culprit = 0
    for k, (alleles, is_phased) in enumerate(people):
        if len(alleles) > 2:
            culprit = culprit if polyploid else k
            polyploid += 1
            continue
        if not alleles or -1 in alleles:
            bits[2, k] = True
            half += any(allele >= 0 for allele in alleles)
            continue
        bits[0, k] = alleles[0] == alt
        bits[1, k] = len(alleles) == 2 and alleles[1] == alt
        bits[3, k] = len(alleles) == 1
        is_het = len(set(alleles)) == 2
        bits[4, k] = is_het and bool(is_phased)
        unphased += is_het and not is_phased
    planes = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
    return planes, [half, unphased, polyploid, culprit]
