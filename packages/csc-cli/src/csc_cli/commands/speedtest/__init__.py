"""``csc speedtest``: how fast device, disk, loader and network are here."""
