"""From predictions to a submission: post-processing block by block, packing, checking, zipping.

Needs no torch. The functions are imported when first asked for, so that reading the settings alone stays light.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.2.0"
