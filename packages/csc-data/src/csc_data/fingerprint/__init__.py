"""What annotated crops are like, in numbers: how large, thin and frequent each class is, and how raw looks.

`take_fingerprint` looks at the stored levels, within a bounded memory; plans for training and post-processing are made
from what it says. Needs no torch.
"""

from csc_data.fingerprint.choice import Choice
from csc_data.fingerprint.facts import ClassFacts, DatasetFacts, Fingerprint, Spread
from csc_data.fingerprint.taking import take_fingerprint

__all__ = ["Choice", "ClassFacts", "DatasetFacts", "Fingerprint", "Spread", "take_fingerprint"]
