"""Warnings."""


class DiaWarning(UserWarning):
    """Something was estimated, is unusual, or says not to use a result; the text names the image, the value and the remedy."""
