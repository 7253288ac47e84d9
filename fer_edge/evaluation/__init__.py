"""What answers are measured with: FER2013, metrics, agreement."""
