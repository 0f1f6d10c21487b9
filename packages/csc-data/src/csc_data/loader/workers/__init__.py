"""Who loads batches: processes that live from epoch to epoch, the memory that batches lie in, and one iteration."""
