"""What the numbers in a stored prediction mean, so that nobody applies a threshold for probabilities to logits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from csc_data.errors import InvalidArgumentError, UnreadableDataError

ATTRIBUTE = "csc_values"
"""Name of the array attribute that holds it."""

Kind = Literal["probability", "logit", "distance", "label"]
_KINDS = ("probability", "logit", "distance", "label")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredValues:
    """The meaning of an array's values.

    Attributes
    ----------
    kind : {"probability", "logit", "distance", "label"}
        Probabilities from 0 to 1, logits, signed distances (inside above 0), or labels and instance ids.
    one : float
        The stored value that stands for 1: 255 where probabilities are packed into uint8.
    """

    kind: Kind
    one: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in _KINDS or not self.one > 0:
            raise InvalidArgumentError(f"kind must be one of {', '.join(_KINDS)} and one above 0, got {self}")

    def stored_threshold(self, probability: float) -> float:
        """Return the stored value at which a probability lies.

        Raises
        ------
        InvalidArgumentError
            If the probability is not strictly between 0 and 1, or the values are labels, which have none.

        Examples
        --------
        >>> StoredValues(kind="probability", one=255).stored_threshold(0.5)
        127.5
        >>> StoredValues(kind="logit").stored_threshold(0.5)
        0.0
        """
        if not 0 < probability < 1:
            raise InvalidArgumentError(f"a threshold is a probability strictly between 0 and 1, got {probability}")
        if self.kind == "probability":
            return probability * self.one
        if self.kind == "logit":
            return math.log(probability / (1 - probability)) * self.one
        if self.kind == "distance":
            return (2 * probability - 1) * self.one
        raise InvalidArgumentError("the values are labels, which have no threshold")

    def to_attributes(self) -> dict[str, Any]:
        """Return the attribute to store beside the array.

        Examples
        --------
        >>> attributes = StoredValues(kind="probability", one=255.0).to_attributes()
        >>> attributes
        {'csc_values': {'kind': 'probability', 'one': 255.0}}
        >>> StoredValues.from_attributes(attributes)
        StoredValues(kind='probability', one=255.0)
        """
        return {ATTRIBUTE: {"kind": self.kind, "one": self.one}}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> StoredValues | None:
        """Read the attribute of an array; None where there is none, as in files of other tools.

        Raises
        ------
        UnreadableDataError
            If the attribute is there but damaged.

        Examples
        --------
        >>> StoredValues.from_attributes({"csc_values": {"kind": "logit", "one": 1.0}}).kind
        'logit'
        >>> StoredValues.from_attributes({}) is None
        True
        """
        entry = attributes.get(ATTRIBUTE)
        if entry is None:
            return None
        try:
            return cls(kind=entry["kind"], one=float(entry["one"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableDataError(f"the attribute {ATTRIBUTE} is damaged: {entry!r}") from error
