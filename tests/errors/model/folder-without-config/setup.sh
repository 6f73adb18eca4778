# What git can not hold.
mkdir weights
