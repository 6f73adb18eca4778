# What git can not hold.
{ printf 'name = "case" #'; head -c 11000000 /dev/zero | tr '\0' 'x'; } > spec.toml
