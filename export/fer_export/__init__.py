"""From a checkpoint to artifacts that were proved against it."""
