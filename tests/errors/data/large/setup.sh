# What git can not hold.
{ cat rows.jsonl; head -c 11000000 /dev/zero | tr '\0' ' '; } > large.jsonl
