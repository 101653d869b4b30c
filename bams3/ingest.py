"""Alignments to a store: opens the conversion, lets it go on where an earlier one stopped, seals it."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from .bam import BamHeader, BgzfBatch, inflate, parse_header, read_batches
from .converter import Converter, ConvertOptions, ConvertReport, memory_bytes, workers_within
from .errors import Bams3Error, CorruptDataError, InputError, StoreError
from .format import index, manifest, spec
from .format.directory import content_hash, crc32
from .query import StoreReader
from .resume import ResumeLog, identity_hash
from .store import Store
from .verify import named_keys

#: What a header may be at most: a length field that lies must not fill the memory.
_MAX_HEADER_BYTES = 256 << 20

__all__ = ["ConvertOptions", "ConvertReport", "Source", "convert", "memory_bytes", "workers_within"]


@dataclass(frozen=True, slots=True)
class Source:
    """An input that is open: its name, its bytes in BGZF blocks, and where they may be joined again.

    Attributes
    ----------
    identity
        What tells this input from others; None where that cannot be known, so nothing is resumed.
    seekable
        Whether ``file`` may be read from any block on.
    through_htslib
        Whether a process of htslib makes these blocks of something else.
    """

    name: str
    file: BinaryIO
    identity: dict[str, Any] | None
    seekable: bool
    through_htslib: bool = False


def convert(
    source: Source,
    store: Store,
    options: ConvertOptions,
    *,
    replaces: bytes | None = None,
    provenance: dict[str, Any] | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> ConvertReport:
    """Convert an input into a store; a conversion that was killed goes on where it stopped.

    Parameters
    ----------
    replaces
        The manifest that the new one takes the place of; None: there must be none.
    provenance
        What to keep in ``_provenance.json``.

    Raises
    ------
    InputError
        ``unsorted``, ``output-exists``; CorruptDataError where the input's bytes are wrong;
        StoreError where the store fails. The store then is as it was, but for notes to resume from.
    """
    beginning = read_beginning(source, on_warning)
    header = beginning.header
    stale = stale_keys(store)
    log = ResumeLog(store, identity_of(source, header, options))
    converter = Converter(header, source.name, store, options, log, on_progress)
    _run(converter, log, source, beginning, on_warning)
    sealed = seal(converter, header, store, options, replaces)
    if sealed is None:
        _withdraw(converter, log, store)
        raise lost(store)
    finish(store, sealed, stale - converter.keys, provenance, on_warning)
    return converter.report


def identity_of(source: Source, header: BamHeader, options: ConvertOptions) -> str | None:
    """Name of the notes of conversions of this input with these options; None where it is not known."""
    if source.identity is None:
        return None
    text = hashlib.sha256(header.encode()).hexdigest()
    return identity_hash(source.identity | options.identity() | {"header": text})


def stale_keys(store: Store) -> set[str]:
    """What an earlier conversion wrote, but for manifest and provenance, which are written over."""
    return {key for key in store.list() if index.is_store_key(key)} - {spec.MANIFEST_KEY, spec.PROVENANCE_KEY}


def finish(
    store: Store,
    sealed: bytes,
    stale: set[str],
    provenance: dict[str, Any] | None,
    on_warning: Callable[[str], None],
) -> None:
    """What remains to be done when a store is whole: what goes wrong now must not have it made again."""
    try:
        if provenance is not None:  # behind the manifest: a conversion that lost must not leave its own
            store.put(spec.PROVENANCE_KEY, (json.dumps(provenance, indent=1) + "\n").encode())
        _tidy(store, sealed, stale)
    except Bams3Error as err:
        on_warning(f"the store is done, but: {err}; bams3 gc removes what is left over")


def _run(
    converter: Converter,
    log: ResumeLog,
    source: Source,
    beginning: Beginning,
    on_warning: Callable[[str], None],
) -> None:
    """Convert all records, or those behind what an earlier conversion finished."""
    last = converter.resume(log)
    if last is None:
        converter.run(beginning.batches, beginning.size_bytes)
        return
    first, after = last.first_record, last.first_record + last.records
    if source.seekable:
        batches = batches_from(source, last.offset, on_warning)
        converter.run(batches, last.offset & 0xFFFF, first, after)
    else:
        converter.run(beginning.batches, beginning.size_bytes, 0, after)


class Beginning(NamedTuple):
    """Header, all batches (those that were read for it too), its inflated bytes, and where they end."""

    header: BamHeader
    batches: Iterator[BgzfBatch]
    size_bytes: int
    virtual_offset: int


def batches_from(
    source: Source, virtual_offset: int, on_warning: Callable[[str], None]
) -> Iterator[BgzfBatch]:
    """Batches from the block on that a virtual offset lies in, with a warning if they break off."""
    source.file.seek(virtual_offset >> 16)
    batches = read_batches(source.file, start_offset=virtual_offset >> 16, source=source.name)
    return _warn_without_eof(batches, source.name, on_warning)


def read_beginning(source: Source, on_warning: Callable[[str], None]) -> Beginning:
    """Read the header of an input that stands at its start."""
    batches = _warn_without_eof(read_batches(source.file, source=source.name), source.name, on_warning)
    taken: list[BgzfBatch] = []
    data = bytearray()
    for batch in batches:
        taken.append(batch)
        before, inflated = len(data), inflate(batch)
        data += inflated.data
        found = parse_header(data, source=source.name)
        if found is not None:
            header, size_bytes = found
            offset = inflated.virtual_offset(size_bytes - before)
            return Beginning(header, itertools.chain(taken, batches), size_bytes, offset)
        if len(data) > _MAX_HEADER_BYTES:
            raise CorruptDataError(
                f"{source.name}: no end of the header in {len(data) >> 20} MB", kind="bad-bam-header"
            )
    raise CorruptDataError(f"{source.name}: the file ends inside its header", kind="truncated-file")


def _warn_without_eof(
    batches: Iterator[BgzfBatch], name: str, on_warning: Callable[[str], None]
) -> Iterator[BgzfBatch]:
    whole = False
    for batch in batches:
        whole = batch.ends_with_eof_block
        yield batch
    if not whole:
        on_warning(f"{name} has no end-of-file block: it may be truncated")


def seal(
    converter: Converter,
    header: BamHeader,
    store: Store,
    options: ConvertOptions,
    replaces: bytes | None,
) -> bytes | None:
    """Write header, index and then the manifest, which makes the store exist; None if another was faster."""
    contigs = [[n, length] for n, length in zip(header.contigs.names, header.contigs.lengths, strict=True)]
    index_data, ranges = converter.index.finish(contigs)
    header_key = f"_header-{content_hash(header.text):08x}.sam"
    index_key = f"_index-{content_hash(index_data):08x}.bin"
    report = converter.report
    value = {
        **_manifest_start(report, len(contigs), options),
        "header": {"key": header_key, "range": [0, len(header.text), crc32(header.text)]},
        "index": {"key": index_key, "bytes": len(index_data), **ranges},
    }
    data = manifest.render(value)
    store.put(header_key, header.text)
    store.put(index_key, index_data)
    converter.keys |= {header_key, index_key}
    gone = converter.keys - set(store.list())
    if gone:
        raise StoreError(
            f"{store.name}: {min(gone)} went while the store was written: did bams3 gc run?",
            kind="store-changed",
            hint="run again",
        )
    if replaces is None:
        written = store.put_if_absent(spec.MANIFEST_KEY, data)
    else:
        written = store.put_if_match(spec.MANIFEST_KEY, data, replaces)
    if not written:
        return None
    report.bytes_out += len(data) + len(index_data) + len(header.text)
    return data


def lost(store: Store) -> InputError:
    """The error of a conversion that another was faster than."""
    words = f"{store.name} was written by another conversion meanwhile"
    return InputError(words, kind="output-exists", hint="keep that store, or run again with --force")


def _tidy(store: Store, sealed: bytes, stale: set[str]) -> None:
    """Remove notes and what is stale; unless another conversion's manifest is there, which may need them."""
    if any(store.get(spec.MANIFEST_KEY) == sealed for _ in range(2)):  # once more if bytes are wrong
        store.delete(*sorted({*store.list(spec.RESUME_PREFIX)} | stale))


def _withdraw(converter: Converter, log: ResumeLog, store: Store) -> None:
    """Remove what a conversion wrote that lost, but for the objects that the winner names too."""
    with contextlib.suppress(Bams3Error):  # a store that cannot be read now is left as it is
        store.delete(*(converter.keys - named_keys(StoreReader(store))))
        log.clear()


def _manifest_start(report: ConvertReport, n_contigs: int, options: ConvertOptions) -> dict[str, Any]:
    """What the manifest says of the store as a whole."""
    return {
        "format": spec.FORMAT,
        "version": ".".join(map(str, spec.VERSION)),
        "records": report.records,
        "contigs": n_contigs,
        "chunks": report.chunks,
        "chunk_bytes": report.bytes_out,
        "chunk_span_bp": options.span_bp,
        "compression": options.compression.method,
    }
