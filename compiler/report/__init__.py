"""What runs did, read from their logs, as a page or a picture."""
