"""Pictures: reading them safely, and drawing into them."""
