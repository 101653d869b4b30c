"""Whether genotype frequencies are the same in all batches: tests of homogeneity, and their results."""

from .run import run_two_tier_chi2_test
from .twotier import Options

__all__ = ["Options", "run_two_tier_chi2_test"]
