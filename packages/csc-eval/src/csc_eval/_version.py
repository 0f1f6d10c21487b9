"""The package's version; asking the installed metadata for it would take longer than scoring a small crop."""

VERSION = "0.2.0"
