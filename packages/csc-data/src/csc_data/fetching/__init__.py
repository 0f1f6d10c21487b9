"""Fetching the challenge's data: the labels of crops and the raw around them, from the bucket into the data folder.

`estimate_fetch` tells how much it can be at most. `plan_fetch` lists what is needed and compares it with what is there;
`fetch_data` does that, and fetches the rest. Every file appears whole or not at all, so a run can be stopped at any
point, by Ctrl-C or by force: the next one fetches what is missing and nothing else. `verify_data` compares what was
fetched with the digests that are kept beside it. `fetch_archive` fetches one of the organisers' zips instead.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
