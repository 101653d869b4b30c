"""The only door to the compiled library: checks dtype, contiguity and lengths, then calls it.

ctypes releases the GIL around every call, so kernels run beside each other in threads. Axes in
docstrings as in columns.py.
"""

from .door import ERR_BAD_COLUMN, ERR_TOO_MANY, ERR_UNSORTED, KernelError
from .records import MAX_LAYOUT_KEYS, Scanner, add_depth, join, split, subsample, summarise
from .transforms import (
    NameFields,
    decode_dictionary,
    encode_dictionary,
    join_names,
    join_planes,
    measure_bases,
    pack_bases,
    split_names,
    split_planes,
    unpack_bases,
)

__all__ = [
    "ERR_BAD_COLUMN",
    "ERR_TOO_MANY",
    "ERR_UNSORTED",
    "MAX_LAYOUT_KEYS",
    "KernelError",
    "NameFields",
    "Scanner",
    "add_depth",
    "decode_dictionary",
    "encode_dictionary",
    "join",
    "join_names",
    "join_planes",
    "measure_bases",
    "pack_bases",
    "split",
    "split_names",
    "split_planes",
    "subsample",
    "summarise",
    "unpack_bases",
]
