"""File formats: the spec, artifacts, model directories, plans, and the records that they hold."""
