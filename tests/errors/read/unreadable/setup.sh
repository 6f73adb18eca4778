# What git can not hold.
ln -s spec.toml spec.toml
