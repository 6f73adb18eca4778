# What git can not hold.
mkdir elsewhere && ln -s ../elsewhere out/data
