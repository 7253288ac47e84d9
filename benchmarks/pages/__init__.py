"""Scripts that measure and write this project's own pages; called by make, in no wheel."""
