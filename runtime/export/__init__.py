"""What convert.sh makes of a checkpoint: a PEFT adapter, a merged Hugging Face model, proven."""
