"""Runs at the start of every Python that ``pytest --s3`` starts: what it asks of stores goes to S3."""

import contextlib
import sys
from pathlib import Path

with contextlib.suppress(ImportError):  # a Python without bams3, such as a tool's own
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    import s3_mirror

    s3_mirror.install()
