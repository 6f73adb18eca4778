# What git can not hold.
mkdir weights
touch weights/consolidated.safetensors weights/params.json
