"""Which versions of a format are read here."""

from __future__ import annotations

from ..errors import CorruptDataError


def check_version(found: tuple[int, int], ours: tuple[int, int], noun: str, source: str) -> None:
    """Refuse a format that this version cannot read; 0.x formats are read by the same minor only.

    Parameters
    ----------
    noun, source
        What has the format, and what it is made of, for the message.

    Raises
    ------
    CorruptDataError
        ``newer-format``, ``older-format``.
    """
    if found <= ours and (found[0] or found[1] == ours[1]):
        return
    there, here = (".".join(map(str, version)) for version in (found, ours))
    raise CorruptDataError(
        f"the {noun} has format {there}, this version reads {here}",
        kind="newer-format" if found > ours else "older-format",
        hint=f"install a bams3 that reads it, or convert the {source} again",
    )
