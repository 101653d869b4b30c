"""What questions cost on a store: requests and bytes, counted: ``make prices STORE=folder``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bams3.coverage import Rules
from bams3.depth import indexed_sums, region_depth
from bams3.filters import Filters
from bams3.query import StoreReader
from bams3.store import LocalStore

from . import harness, report
from .harness import Row


class CountedStore(LocalStore):
    """A folder that counts what is asked of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.sizes: list[int] = []

    def get(self, key: str) -> bytes:
        data = super().get(key)
        self.sizes.append(len(data))
        return data

    def get_range(self, key: str, offset: int, size_bytes: int) -> bytes:
        self.sizes.append(size_bytes)
        return super().get_range(key, offset, size_bytes)


def main() -> None:
    """Ask, write the rows, print the table."""
    parser = argparse.ArgumentParser(prog="make prices", description=__doc__)
    parser.add_argument("store", metavar="STORE", type=Path)
    parser.add_argument("--rows", default=f"build/{time.strftime('%Y-%m')}-prices.jsonl")
    options = parser.parse_args()
    rows = prices(options.store)
    Path(options.rows).parent.mkdir(parents=True, exist_ok=True)
    harness.write_rows(Path(options.rows), rows)
    print(report.render_prices(rows))


def prices(folder: Path) -> list[Row]:
    """A row a question, each asked of a store that was just opened."""
    size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    rows = []
    for question, ask in questions(StoreReader(LocalStore(folder))).items():
        store = CountedStore(folder)
        ask(StoreReader(store))
        row = {
            "question": question,
            "requests": len(store.sizes),
            "bytes": sum(store.sizes),
            "store": size_bytes,
        }
        rows.append(row | harness.machine())
    return rows


def questions(reader: StoreReader) -> dict[str, Callable[[StoreReader], Any]]:
    """Questions by what they are called, about the contig with the most reads."""
    totals = reader.totals[:-1, 0]
    contig = int(totals.argmax())
    name, length_bp = reader.contigs.names[contig], reader.contigs.lengths[contig]
    one_mb, two_kb = f"{name}:4000001-5000000", f"{name}:4000001-4002000"
    return {
        "open the store": lambda r: r.manifest,
        "reads of all contigs, by flag": lambda r: r.stats(),
        "500 bp windows of a contig": lambda r: list(indexed_sums(r, [(contig, 0, length_bp)])),
        "count of a contig": lambda r: r.count(name),
        "count of 1 Mb": lambda r: r.count(one_mb),
        "count of 1 Mb, filtered": lambda r: r.count(one_mb, Filters(exclude_flags=0x904, min_mapq=20)),
        "depth of 1 Mb, per base": lambda r: r.depth(one_mb),
        "depth of 1 Mb, bases of quality 20": lambda r: region_depth(r, r.region(one_mb), Rules(min_bq=20)),
        "mapping qualities of 1 Mb": lambda r: r.columns(one_mb, ["mapq"]),
        "names of 1 Mb": lambda r: r.columns(one_mb, ["name"]),
        "records of 1 Mb": lambda r: list(r.records([r.region(one_mb)])),
        "records of 2 kb": lambda r: list(r.records([r.region(two_kb)])),
    }


if __name__ == "__main__":
    main()
