mkdir weights; printf "{\"model_type\": \"llama\"}" > weights/config.json; printf "{\"added_tokens\": [], \"model\": {\"vocab\": {}}}" > weights/tokenizer.json
printf '<!DOCTYPE html><title>504 Gateway Time-out</title>' > weights/model.safetensors
