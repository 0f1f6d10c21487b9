"""What stands for PyTorch Connectomics 2.0 in the tests of examples: its interfaces, as far as these use them.

Written from what its sources say of arguments and results; nothing of it is here.
"""
