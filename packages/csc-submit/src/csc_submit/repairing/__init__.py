"""A submission that the portal would not take as it is meant, written anew without what can safely be mended."""
