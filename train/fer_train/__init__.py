"""Training of face-expression networks on FER2013 and other data sets."""
