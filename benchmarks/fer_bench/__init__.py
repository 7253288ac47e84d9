"""Measuring models: what they get right, and how fast."""
