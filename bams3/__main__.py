"""``python -m bams3``."""

from .cli import main

main()
