"""What a plan costs, computed before it runs: memory, length."""
