"""Genotypes in: panels of many samples from VCF, BCF and PLINK 1, and their counts by plate.

A panel is read front to back in blocks of variants, and who reads it holds one block. Readers agree on what a
genotype is: A is the reference allele and B the alternate one, a haploid call counts as homozygous, and a
call with any allele missing is missing. Phase is not told yet.
"""

from .blocks import AA, AB, BB, MISSING, Note, Panel, Site, VariantBlock
from .plates import plate_counts, read_plates
from .plink import PlinkPanel
from .vcf import VcfPanel

__all__ = [
    "AA",
    "AB",
    "BB",
    "MISSING",
    "Note",
    "Panel",
    "PlinkPanel",
    "Site",
    "VariantBlock",
    "VcfPanel",
    "plate_counts",
    "read_plates",
]
