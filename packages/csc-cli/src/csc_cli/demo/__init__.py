"""The demo: a small synthetic challenge, and the whole path on it, through the functions behind the commands."""

from csc_cli.demo.run import DemoOptions, run_demo

__all__ = ["DemoOptions", "run_demo"]
