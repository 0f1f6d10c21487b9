import importlib.util

# The loader is the extra csc-data[torch]; without it, its tests have nothing to run on.
collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["loader/*"]
