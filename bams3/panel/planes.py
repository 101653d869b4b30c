"""Sites and planes under the name by which users of a panel know them (variants.py says what they are)."""

from ..variants import Planes, Sites, Texts, words_of

__all__ = ["Planes", "Sites", "Texts", "words_of"]
