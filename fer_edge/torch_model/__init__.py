"""The network of a spec, its weights and what both may cost: the only room with torch."""
