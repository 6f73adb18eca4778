# What git can not hold.
mkdir -p weights/model
echo '{"model_type": "llama"}' > weights/model/config.json
