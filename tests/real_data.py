"""Where the real data is: ``BAMS3_TEST_DATA``, or ``../shared/data`` beside the checkout."""

import os
from pathlib import Path


def data_folder() -> Path:
    """The folder of real data, whether or not it is there."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("BAMS3_TEST_DATA") or beside)


def is_there(folder: Path) -> bool:
    """Whether the folder holds the data: its MANIFEST says what each file is."""
    return (folder / "MANIFEST.md").is_file()
