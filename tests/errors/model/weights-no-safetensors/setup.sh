mkdir weights; printf "{\"model_type\": \"llama\"}" > weights/config.json; printf "{}" > weights/tokenizer.json
printf '<!DOCTYPE html><title>504 Gateway Time-out</title>' > weights/model.safetensors
