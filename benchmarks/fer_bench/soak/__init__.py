"""Hours of mixed calls: right answers, and nothing that grows."""
