"""Training of face-expression networks on FER2013."""
