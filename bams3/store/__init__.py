"""Bytes by key: a local folder, memory. Stores never know what the bytes mean."""

from .base import Store
from .local import LocalStore
from .memory import MemoryStore

__all__ = ["LocalStore", "MemoryStore", "Store"]
