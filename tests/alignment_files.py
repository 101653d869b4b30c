"""A small SAM, and files read and written as the commands do it: for the tests of sam.py."""

import io

from bams3 import sam
from bams3.bam import inflate, parse_header, read_batches

HEADER_LINES = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:1000\n@SQ\tSN:chr2\tLN:2000\n"
RECORD_LINES = """\
r1\t99\tchr1\t11\t60\t4M\t=\t21\t14\tACGT\tIIII\tNM:i:0\tXA:Z:a b
r1\t147\tchr1\t21\t60\t4M\t=\t11\t-14\tACGN\tIII#\tXB:B:c,1,-2
r2\t4\t*\t0\t0\t*\t*\t0\t0\tA\t*
"""


def load(path, **options):
    """Header and record bytes of any file, as convert reads them."""
    opened = path.open("rb") if sam.detect(path) == "bam" else sam.open_as_bam(path, **options)
    with opened as file:
        return parsed(file)


def parsed(file):
    data = b"".join(inflate(batch).data for batch in read_batches(file))
    header, end = parse_header(data)
    return header, data[end:]


def written(records, header, fmt, **options):
    out = io.BytesIO()
    sam.write_alignments(records, header, out, fmt, **options)
    return out.getvalue()
