# What git can not hold.
mkdir weights
touch weights/m-Q4_K_M.gguf
