"""The accuracy-regression suite: a pytest plugin, and the same as one call."""
