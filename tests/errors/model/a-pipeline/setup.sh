# What git can not hold.
mkdir weights
echo '{}' > weights/model_index.json
