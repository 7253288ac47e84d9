"""Faces: where they are in a frame, and the crop of each."""
