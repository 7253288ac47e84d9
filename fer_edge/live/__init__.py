"""Video and cameras: frames as they come, faces that are followed, and what is written of them."""
