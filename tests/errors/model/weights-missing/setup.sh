mkdir weights; printf "{\"model_type\": \"llama\"}" > weights/config.json; printf "{}" > weights/tokenizer.json
printf '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}' > weights/model.safetensors.index.json
