"""Samples and batches in the form that other training frameworks take; none of them needs to be installed.

What takes any iterable of batches takes a `PatchLoader` as it is: Lightning, MONAI's engines, Accelerate, a loop of
your own. What makes torch's loader itself takes ``loader.dataset`` or a `SampleStream`.
"""
