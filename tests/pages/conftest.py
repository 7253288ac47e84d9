"""Results that are made up."""

from made_results import make_run, make_sample, quiet_watch

__all__ = ["make_run", "make_sample", "quiet_watch"]
