"""Who works on the blocks of a prediction: this process, several of this machine, or those of a cluster."""
