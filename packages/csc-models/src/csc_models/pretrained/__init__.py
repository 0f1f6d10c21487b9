"""Weights that others published: what there is, where it is kept on this machine, and networks with them.

Files are downloaded when they are first asked for, into the user's cache.
"""

from csc_models.pretrained.fetching import fetch_pretrained, pretrained_path
from csc_models.pretrained.loading import load_pretrained, pretrained_description
from csc_models.pretrained.published import PretrainedCard, list_pretrained, pretrained_card

__all__ = [
    "PretrainedCard",
    "fetch_pretrained",
    "list_pretrained",
    "load_pretrained",
    "pretrained_card",
    "pretrained_description",
    "pretrained_path",
]
