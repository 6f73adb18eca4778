mkdir weights; printf "{\"model_type\": \"llama\"}" > weights/config.json; printf "{\"added_tokens\": [], \"model\": {\"vocab\": {}}}" > weights/tokenizer.json
printf '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}' > weights/model.safetensors.index.json
