"""Files of TensorBoard: written and cut record by record, and those of several runs united."""
