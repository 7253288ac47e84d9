"""Calibration sets for INT8."""
