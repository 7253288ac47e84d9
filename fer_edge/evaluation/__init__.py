"""What models are measured with: FER2013 and other data sets, metrics, agreement."""
