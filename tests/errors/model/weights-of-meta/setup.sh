# What git can not hold.
mkdir weights
touch weights/consolidated.00.pth weights/params.json
