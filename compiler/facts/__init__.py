"""What a spec refers to, looked up: model folder, chat template, data."""
