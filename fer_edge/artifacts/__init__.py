"""File formats: the spec, artifacts, model directories, plans, and their JSON records."""
