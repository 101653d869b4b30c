"""``bams3 chunks``: the chunks of a store, from its index alone."""

from __future__ import annotations

import json

import click

from ..chunkfile import chunks_of, region_text
from ..regions import parse_region
from .remote import opened, s3_options


@s3_options
@click.command(short_help="The chunks of a store.", no_args_is_help=True)
@click.argument("store", metavar="STORE")
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="REGION",
    help="Only chunks that may hold its records; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Write a list of objects instead of a table.")
def command(store: str, regions: tuple[str, ...], as_json: bool) -> None:
    """A row a chunk of STORE, in file order: key (its file in STORE), region, records, bytes.

    The region is what the records cover, both ends included; chr1:5-900,+12 if records of 12 more contigs
    follow, * for unplaced reads. `bams3 cat STORE/KEY` writes the records.

    \b
    Examples:
      bams3 chunks sample.bams3
      bams3 chunks sample.bams3 --region chr20:1M-2M --json
      bams3 chunks sample.bams3 | tail -n +2 | cut -f 1 | parallel 'bams3 cat sample.bams3/{} | wc -l'
    """  # noqa: D301  click keeps the lines of a paragraph that starts with this mark
    reader = opened(store)
    rows = (
        {
            "key": stored.key,
            "region": region_text(stored, reader.contigs),
            "records": int(stored.row["records"]),
            "bytes": int(stored.row["bytes"]),
        }
        for stored in chunks_of(reader, [parse_region(text, reader.contigs) for text in regions])
    )
    if as_json:
        click.echo(json.dumps(list(rows), indent=1))
        return
    click.echo("key\tregion\trecords\tbytes")
    for row in rows:
        click.echo("\t".join(map(str, row.values())))
