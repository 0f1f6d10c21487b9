"""One module for each command: click at the top, the library inside the call."""
