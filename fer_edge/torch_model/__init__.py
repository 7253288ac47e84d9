"""The network of a spec and its weights; of fer_edge, only this and the torch backend use torch."""
